"""Writes ``docs/performance.md`` from what the benchmarks have measured; see ``make bench``."""

import json
from collections.abc import Iterator
from pathlib import Path

from benchmarks import bpftrace_memory, service
from benchmarks.bpf_statistics import make_spread
from benchmarks.cells import divide, judge, show
from benchmarks.impact.tables import render_impacts
from benchmarks.kernel.contenders import EMPTY, HAND_WRITTEN, ONE_COUNTER
from benchmarks.kernel.measuring import BURSTS, CLIENTS, ROUNDS, Result
from benchmarks.loopback import BURST_CALLS

REPOSITORY = Path(__file__).parents[1]
TEMPLATE = Path(__file__).with_suffix(".template.md")
PAGE = REPOSITORY / "docs" / "performance.md"
KERNEL_RESULTS = Path(__file__).parent / "results" / "kernel"
DIRECTIONS = ("receive", "transmit")
MAX_PERCENT = 10
MAX_MEGABYTES = 60
MAX_START_SECONDS = 1.0
_MEGABYTE = 1_000_000


def main() -> None:
    """Write the page."""
    PAGE.write_text(render_page(), encoding="utf-8")
    print(f"wrote {PAGE}")


def render_page() -> str:
    """The page, from the results in the repository."""
    one = json.loads(service.RESULTS.read_text(encoding="utf-8"))
    memory = json.loads(bpftrace_memory.RESULTS.read_text(encoding="utf-8"))
    parts = {
        **render_impacts(),
        "KERNEL": "\n".join(render_kernels()),
        "SERVICE": "\n".join(_render_service(one["clients"])),
        "GOALS": "\n".join(_judge_service(one["clients"])),
        "CHECKS": _megabytes(one["checks_bytes"]),
        "STARTS": "\n".join(_render_starts(one["starts"], one["bpftrace"])),
        "STARTGOAL": _judge_starts(one["starts"]),
        "MEMORY": "\n".join(_render_memory(memory)),
        "MAX_CONNECTIONS": f"{service.MAX_CONNECTIONS:,}",
        "CLIENTS": f"{CLIENTS[-1]:,}",
        "BURST": f"{BURSTS * BURST_CALLS:,}",
        "ROUNDS": str(ROUNDS),
    }
    text = TEMPLATE.read_text(encoding="utf-8")
    for name, part in parts.items():
        text = text.replace(name, part)
    return text


def render_kernels() -> Iterator[str]:
    """A table for each kernel and bpftrace."""
    paths = sorted(KERNEL_RESULTS.glob("*.json"), key=lambda path: path.stem.startswith("lab"))
    for path in paths:
        result: Result = json.loads(path.read_text(encoding="utf-8"))
        where = "emulated" if path.stem.startswith("lab") else "on a real processor"
        yield f"### Linux {result['kernel']}, bpftrace {result['bpftrace']}, {where}"
        yield ""
        yield from _render_kernel(result)
        yield ""


def _render_kernel(result: Result) -> Iterator[str]:
    figures = result["figures"]
    by_hand = [name for name in figures if name.startswith(HAND_WRITTEN)]
    heads = ["runs", *(f"{d}, {n:,} client{'s' * (n > 1)}" for n in CLIENTS for d in DIRECTIONS)]
    heads += ["of C, receive", "of C, transmit"]
    yield f"| of the one counter | {' | '.join(heads)} | one client, ns |"
    yield "|---|" + "---:|" * (len(heads) + 1)
    for name, figure in figures.items():
        base = _find_base(name, list(figures))
        cells = [f"{figure['runs'][f'{CLIENTS[0]} transmit']:.0f}"]
        for clients in CLIENTS:
            for direction in DIRECTIONS:
                key = f"{clients} {direction}"
                cells.append(show(divide(figure["calls"][key], figures[base]["calls"][key])))
        for direction in DIRECTIONS:
            key = f"{CLIENTS[0]} {direction}"
            hand = next((each for each in by_hand if _way(each) == _way(name)), by_hand[0])
            cells.append(show(divide(figure["calls"][key], figures[hand]["calls"][key])))
        times = [make_spread(figure["calls"][f"{CLIENTS[0]} {d}"])["median"] for d in DIRECTIONS]
        cells.append(" / ".join(f"{time:.0f}" for time in times))
        yield f"| {name} | {' | '.join(cells)} |"


def _find_base(name: str, names: list[str]) -> str:
    """The one counter with the same hooks, as far as there are two."""
    bases = [each for each in names if each.startswith(ONE_COUNTER)]
    if name.startswith((EMPTY, ONE_COUNTER)):
        return next(each for each in bases if _way(each) == _way(name))
    hooks = "tracepoints" if _way(name) == "tracepoint" else "kprobes"
    return next(each for each in bases if _way(each) == hooks)


def _way(name: str) -> str:
    return name.partition("(")[2].rstrip(")")


def _render_service(results: list[service.Result]) -> Iterator[str]:
    processes = list(results[0]["cpu_seconds"])
    heads = ["clients", "interval", "of a processor"]
    heads += [f"{what}, {name}" for what in ("CPU", "memory") for name in processes]
    yield f"| {' | '.join(heads)} | memory |"
    yield "|---:" * (len(heads) + 1) + "|"
    for one in results:
        seconds, memory = one["cpu_seconds"], one["memory_bytes"]
        share = sum(seconds.values()) / one["interval_seconds"]
        cells = [f"{one['clients']:,}", f"{one['interval_seconds']} s", f"{100 * share:.1f} %"]
        cells += [f"{1000 * seconds[name]:.0f} ms" for name in processes]
        cells += [_megabytes(memory[name]) for name in processes]
        yield f"| {' | '.join(cells)} | {_megabytes(sum(memory.values()))} |"


def _judge_service(results: list[service.Result]) -> Iterator[str]:
    by_clients = {one["clients"]: one for one in results}
    many, some = by_clients[10_000], by_clients[1_000]
    percent = 100 * sum(many["cpu_seconds"].values()) / many["interval_seconds"]
    size = sum(some["memory_bytes"].values()) / _MEGABYTE
    yield (
        f"- Goal: 10,000 clients at an interval of a second below {MAX_PERCENT} % of a processor. "
        f"They take {percent:.1f} %: {judge(kept=percent < MAX_PERCENT)}."
    )
    yield (
        f"- Goal: below {MAX_MEGABYTES} MB with 1,000 clients. They take {size:.0f} MB: "
        f"{judge(kept=size < MAX_MEGABYTES)}."
    )


def _judge_starts(starts: service.Starts) -> str:
    seconds = starts["nfszbx"]["median"] - starts["bpftrace"]["median"]
    return (
        f"Goal: at most {MAX_START_SECONDS:.0f} second more than bpftrace by itself. It is "
        f"{seconds:.1f}: {judge(kept=seconds <= MAX_START_SECONDS)}."
    )


def _megabytes(size: float) -> str:
    return f"{size / _MEGABYTE:.0f} MB"


def _render_starts(starts: service.Starts, bpftrace: str) -> Iterator[str]:
    yield f"| | seconds, of {service.STARTS} runs |"
    yield "|---|---:|"
    for name, spread in (
        (f"bpftrace {bpftrace} by itself, with the same script", starts["bpftrace"]),
        ("`nfszbx run`, until Prometheus is told", starts["nfszbx"]),
    ):
        yield f"| {name} | {show(spread)} |"


def _render_memory(results: list[bpftrace_memory.Result]) -> Iterator[str]:
    columns = [(one, script) for one in results for script in one["memory_bytes"]]
    heads = [f"{one['bpftrace']}, {script}" for one, script in columns]
    yield f"| setting | {' | '.join(heads)} |"
    yield "|---|" + "---:|" * len(heads)
    for setting in bpftrace_memory.SETTINGS:
        spreads = [one["memory_bytes"][script][setting] for one, script in columns]
        cells = [
            f"{spread['median'] / _MEGABYTE:.1f} ({spread['least'] / _MEGABYTE:.1f} to "
            f"{spread['most'] / _MEGABYTE:.1f})"
            for spread in spreads
        ]
        yield f"| {setting} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()

"""What operations cost for each request: ``python -m benchmarks.operations_cost``, as root.

The script of operations as it is, by the kernel's own BPF statistics: the time of its programs
(``run_time_ns``), over all of their runs for a request. This needs no nfsd: the probes stand on
functions of ``operations_cost.c``, whose memory is the kernel's, laid out as that of Linux 6.12.
Beside it an empty program, and the traffic's own programs on a connection over loopback. Writes
``benchmarks/results/operations_cost.json`` and the tables of ``docs/operations.md``.

Bpftrace is this machine's, and that of a later Debian, which is made in a folder.
"""

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from benchmarks.bpf_statistics import Spread, make_spread, read_runs, statistics
from benchmarks.bpftraces import BEGIN_MARK, Bpftrace, find_bpftraces, running
from benchmarks.kernel.contenders import make_traffic_plan
from benchmarks.loopback import Traffic
from nfszbx.config import Config, Way
from nfszbx.kernel.facts import facts_from_json
from nfszbx.kernel.read import read_facts
from nfszbx.operations.plan import OperationsPlan, make_operations_plan
from nfszbx.operations.script import render_operations_script
from nfszbx.script import Script, render_script

REPOSITORY = Path(__file__).parents[1]
PROGRAM = Path(__file__).with_suffix(".c")
RESULTS = Path(__file__).parent / "results" / "operations_cost.json"
PAGE = REPOSITORY / "docs" / "operations.md"
BEGIN, END = "<!-- benchmarks.operations_cost -->\n", "<!-- end -->\n"
FACTS = REPOSITORY / "tests/fixtures/facts/debian13-6.12.json"
"""Of the kernel whose layout the memory has."""
RUNS = 5
REQUESTS = 20_000
FRAGMENTS = ("operations_compound", "operations_procedure", "operations_moved")
HOOKS = {
    "nfsd_compound_status": "compound_status",
    "nfsd_read_io_done": "read_io_done",
    "nfsd_write_io_done": "write_io_done",
    "nfsd_cache_update": "cache_update",
}
"""What is probed, and the functions that stand for it."""
ARGUMENTS = {"args_opcnt": 0, "resp_opcnt": 1, "status": 2, "len": 3}
"""Of the functions of tracepoints; all get the task as the one after these."""


class Load(NamedTuple):
    """Requests of one kind."""

    name: str
    version: int
    minor: int
    numbers: tuple[int, ...]
    """The operations of a compound, or a procedure."""

    @property
    def runs(self) -> int:
        """Of programs: for each operation of a compound, what moves data, and the request."""
        moving = (25, 38) if self.version == 4 else (6, 7)
        moved = sum(number in moving for number in self.numbers)
        return 1 + moved + (len(self.numbers) if self.version == 4 else 0)


LOADS = (
    Load("3: GETATTR", 3, 0, (1,)),
    Load("3: READ", 3, 0, (6,)),
    Load("3: WRITE", 3, 0, (7,)),
    Load("4: SEQUENCE PUTFH GETATTR", 4, 1, (53, 22, 9)),
    Load("4: SEQUENCE PUTFH READ", 4, 1, (53, 22, 25)),
    Load("4: SEQUENCE PUTFH WRITE GETATTR", 4, 1, (53, 22, 38, 9)),
    Load("4: OPEN, of 8 operations", 4, 1, (53, 22, 32, 18, 10, 3, 9, 9)),
)
SOME_LOADS = (LOADS[0], LOADS[4], LOADS[5])
"""Those that are measured with other settings than the default, with many keys."""
SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "time by client": {"latency_by_client": True},
}
KEYS = ((1, 1), (5000, 4))
"""Clients and exports: few, and many."""


class Result(TypedDict):
    """Of one bpftrace."""

    bpftrace: str
    empty: Spread
    traffic: dict[str, Spread]
    """For each call, by direction."""
    requests: dict[str, Spread]
    """By settings, number of clients, and name of the load."""


def make_operations(bpftrace: Bpftrace, settings: Mapping[str, Any]) -> OperationsPlan:
    """The plan for Linux 6.12 without what the load does not call."""
    facts = replace(facts_from_json(FACTS.read_text(), str(FACTS)), bpftrace=bpftrace.facts)
    operations = {"interval_seconds": 3600, **settings}
    plan = make_operations_plan(facts, Config.model_validate({"operations": operations}))
    # This kernel has its clocks elsewhere, and they differ by nothing as long as it does not sleep.
    offsets = {**plan.layout.offsets, "start_time": plan.layout.offsets["start_boottime"]}
    hooks = tuple(hook for hook in plan.hooks if hook.fragment in FRAGMENTS)
    return replace(plan, hooks=hooks, layout=replace(plan.layout, offsets=offsets))


def place_on(plan: OperationsPlan, program: Path) -> Script:
    """The script of a plan with its probes on the program's functions, reading kernel memory."""
    script = render_operations_script(plan)
    text, begin, cycle = script.text.partition("\nBEGIN\n")
    for probe, function in HOOKS.items():
        text, count = re.subn(rf"\n\w+:(nfsd:)?{probe}\n", f"\nuprobe:{program}:{function}\n", text)
        assert count == 1, probe
    for name, number in ARGUMENTS.items():
        text = text.replace(f"args->{name}", f"(uint32)arg{number}")
    text = text.replace("(uint64)curtask", "(uint64)curtask * 0 + (uint64)arg4")
    # A probe of a program reads the program's memory unless it is told otherwise.
    text = re.sub(r"(\*\(u?int\d+ \*\))(\$\w+)", r"\1kptr(\2)", text)
    text = re.sub(r"(\*\(u?int\d+ \*\))\(", r"\1kptr(", text)
    return Script(text + begin + cycle, script.environment)


def repeat(process: int, work: Callable[[], object], divisor: int = 0) -> Spread:
    """The time of the programs while work is done, for each run or divided by ``divisor``."""
    figures = []
    for _ in range(RUNS):
        before = read_runs(process)
        work()
        runs = read_runs(process).since(before)
        figures.append(runs.time_ns / (divisor or runs.runs))
    return make_spread(figures)


class Requests:
    """The program that makes requests."""

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen(
            [path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def make(self, load: Load, count: int, clients: int, exports: int) -> int:
        """So many requests; 0 is one for each client and export. The nanoseconds that it took."""
        assert self._process.stdin
        assert self._process.stdout
        words = (count, clients, exports, load.version, load.minor, *load.numbers)
        print(*words, file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """End it."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def measure_requests(bpftrace: Bpftrace, folder: Path) -> dict[str, Spread]:
    """Of each load with each setting, with few and with many keys."""
    results = {}
    requests = Requests(folder / "requests")
    for name, settings in SETTINGS.items():
        script = place_on(make_operations(bpftrace, settings), folder / "requests")
        for clients, exports in KEYS:
            for load in LOADS if name == "default" else SOME_LOADS if clients > 1 else ():
                with running(bpftrace, script, folder / "script.bt") as process:
                    requests.make(load, 0, clients, exports)

                    def work(
                        load: Load = load, clients: int = clients, exports: int = exports
                    ) -> None:
                        requests.make(load, REQUESTS, clients, exports)

                    found = repeat(process, work, REQUESTS)
                results[f"{name}, {clients}, {load.name}"] = found
                print(bpftrace.version, name, clients, load.name, found, flush=True)
    requests.close()
    return results


def measure_empty(bpftrace: Bpftrace, folder: Path) -> Spread:
    """Of a program that does nothing."""
    begin = f'BEGIN {{ printf("{BEGIN_MARK}\\n"); }}\n'
    script = Script(f"{begin}uprobe:{folder}/requests:cache_update {{ $x = 1; }}\n", {})
    requests = Requests(folder / "requests")
    with running(bpftrace, script, folder / "script.bt") as process:
        found = repeat(process, lambda: requests.make(LOADS[0], REQUESTS, 1, 1))
    requests.close()
    return found


def measure_traffic(bpftrace: Bpftrace, folder: Path) -> dict[str, Spread]:
    """Of the programs of traffic for each call of a server; the client makes few."""
    facts = replace(read_facts(), bpftrace=bpftrace.facts)
    plan = make_traffic_plan(facts, Way.TRACEPOINT)
    assert plan is not None
    script = render_script(plan)
    with Traffic() as traffic, running(bpftrace, script, folder / "script.bt") as process:
        return {
            "receive": repeat(process, lambda: [traffic.receive() for _ in range(10)]),
            "transmit": repeat(process, lambda: [traffic.transmit() for _ in range(10)]),
        }


def measure(bpftrace: Bpftrace) -> Result:
    """Everything with one bpftrace."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name, statistics():
        folder = Path(name)
        offsets = make_operations(bpftrace, {}).layout.offsets.items()
        defines = [f"-D{member.upper()}={offset}" for member, offset in offsets]
        gcc = ["gcc", "-Wall", "-Werror", "-O2", "-o", str(folder / "requests"), str(PROGRAM)]
        subprocess.run([*gcc, *defines], check=True)
        return Result(
            bpftrace=bpftrace.version,
            empty=measure_empty(bpftrace, folder),
            traffic=measure_traffic(bpftrace, folder),
            requests=measure_requests(bpftrace, folder),
        )


def render(results: dict[str, Any]) -> Iterator[str]:
    """The tables, in Markdown."""
    for one in results["results"]:
        yield from render_result(one)


def render_result(one: Result) -> Iterator[str]:
    """Of one bpftrace."""
    yield f"With bpftrace {one['bpftrace']}:"
    yield ""
    (few, _), (many, exports) = KEYS
    places = [(few, "default"), *((many, name) for name in SETTINGS)]
    heads = ["runs", "one client", "without the clock"]
    heads += [f"{many:,} clients by {exports} exports{_describe(name)}" for name in SETTINGS]
    yield f"| request | {' | '.join(heads)} |"
    yield "|---|" + "---:|" * len(heads)
    for load in LOADS:
        found = [one["requests"].get(f"{name}, {clients}, {load.name}") for clients, name in places]
        if found[0] is None:
            continue
        beyond = found[0]["median"] - load.runs * one["empty"]["median"]
        cells = [str(load.runs), show(found[0]), f"{beyond:.0f} ns", *map(show, found[1:])]
        yield f"| {load.name} | {' | '.join(cells)} |"
    calls = {
        "traffic, a call that receives": one["traffic"]["receive"],
        "traffic, a call that sends": one["traffic"]["transmit"],
        "an empty program": one["empty"],
    }
    for name, spread in calls.items():
        yield f"| {name} | 1 | {show(spread)} |" + " |" * (len(heads) - 2)
    yield ""


def _describe(setting: str) -> str:
    return "" if setting == "default" else f", {setting}"


def show(spread: Spread | None) -> str:
    """The median, and the spread."""
    if spread is None:
        return ""
    return f"{spread['median']:.0f} ns ({spread['least']:.0f} to {spread['most']:.0f})"


def write_page(results: dict[str, Any]) -> None:
    """Put the tables where the old ones are."""
    before, begin, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    assert end, PAGE
    tables = "\n".join(render(results))
    PAGE.write_text(f"{before}{begin}\n{tables}\n\n{end}{after}", encoding="utf-8")


def main() -> None:
    """Measure, and write the results, those of each bpftrace as soon as they are there."""
    if sys.argv[1:] != ["page"]:
        found: list[Result] = []
        about: dict[str, Any] = {"kernel": platform.release(), "processors": os.cpu_count()}
        about |= {"runs": RUNS, "requests": REQUESTS, "results": found}
        for bpftrace in find_bpftraces():
            found.append(measure(bpftrace))
            RESULTS.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    write_page(json.loads(RESULTS.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()

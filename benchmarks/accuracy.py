"""Writes ``docs/accuracy.md`` from what the VM matrix has measured.

Run ``make accuracy``: it measures on every kernel with the other tools beside nfszbx, leaves the
results in ``benchmarks/results/accuracy/`` and calls this.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.vm.matrix import ROWS, Row

REPOSITORY = Path(__file__).parent.parent
RESULTS = REPOSITORY / "benchmarks/results/accuracy"
TEMPLATE = REPOSITORY / "benchmarks/accuracy.template.md"
PAGE = REPOSITORY / "docs/accuracy.md"
TOOLS = {
    "article": "article",
    "entry_by_name": "entry, by name",
    "entry_by_port": "entry, by port",
    "tcptop": "tcptop",
}
DIRECTIONS = ("receive", "transmit")


def main() -> None:
    """Write the page."""
    PAGE.write_text(render_page(), encoding="utf-8")
    print(f"wrote {PAGE}")


def render_page() -> str:
    """The page, from the results in the repository."""
    paths = sorted(RESULTS.glob("*.json"), key=lambda path: [int(n) for n in path.stem.split(".")])
    kernels = [(ROWS[path.stem], json.loads(path.read_text(encoding="utf-8"))) for path in paths]
    tables = "\n".join("\n".join([*_render_kernel(*kernel), ""]) for kernel in kernels)
    return TEMPLATE.read_text(encoding="utf-8").replace("KERNELS\n", tables)


def _render_kernel(row: Row, results: dict[str, Any]) -> Iterator[str]:
    measurements = results["measurements"]
    ways = results["ways"]
    tools = [name for name in TOOLS if name in measurements[0]["rows"][0]["counted_bytes"]]
    compared = sum(row["kernel_bytes"] for m in measurements for row in m["rows"])
    yield f"## Linux {results['versions'][0]}: {row.stands_for}"
    yield ""
    versions = ", ".join(results["versions"][1:])
    yield f"{versions}. {len(measurements)} workloads, {compared:,} bytes."
    if missing := [TOOLS[name] for name in TOOLS if name not in tools]:
        yield f"Does not start on this kernel: {', '.join(missing)}."
    yield ""
    if row.lacks:
        yield from (f"- Not measured: {name}, since {why}." for name, why in row.lacks.items())
        yield ""
    names = [f"**nfszbx, {ways[0]}**", *(f"nfszbx, {way}" for way in ways[1:])]
    names += [TOOLS[name] for name in tools]
    yield f"| workload | bytes | {' | '.join(names)} |"
    yield "|---|---:|" + "---:|" * len(names)
    for measurement in measurements:
        total = sum(row["kernel_bytes"] for row in measurement["rows"])
        cells = [_render_cell(measurement["rows"], name) for name in (*ways, *tools)]
        yield f"| {measurement['workload']} | {total:,} | {' | '.join(cells)} |"


def _render_cell(rows: list[dict[str, Any]], counter: str) -> str:
    return " / ".join(_render_error(rows, counter, direction) for direction in DIRECTIONS)


def _render_error(rows: list[dict[str, Any]], counter: str, direction: str) -> str:
    """``0`` is no byte of difference; the sign is that of the sum."""
    # The other tools do not tell services apart: theirs are the bytes of the one that had traffic.
    rows = [row for row in rows if row["direction"] == direction and row["kernel_bytes"]]
    differences = [row["counted_bytes"][counter] - row["kernel_bytes"] for row in rows]
    if not any(differences):
        return "0"
    percent = 100 * sum(map(abs, differences)) / max(1, sum(row["kernel_bytes"] for row in rows))
    sign = "+" if sum(differences) > 0 else "-"
    if percent >= 1000:
        return f"{sign}{percent:,.0f} %"
    return f"{sign}{percent:.3g} %" if percent >= 0.001 else f"{sign}<0.001 %"


if __name__ == "__main__":
    main()

"""What BPF programs cost, as the kernel itself counts it (``kernel.bpf_stats_enabled``).

The time includes the statistics' own reading of the clock, 40 to 60 ns for each run, which is not
there otherwise: an empty program has hardly anything else.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import NamedTuple, TypedDict

STATISTICS = Path("/proc/sys/kernel/bpf_stats_enabled")


class Spread(TypedDict):
    """The same figure, measured several times."""

    least: float
    median: float
    most: float


def make_spread(figures: list[float]) -> Spread:
    """Of figures that were measured."""
    return Spread(least=min(figures), median=median(figures), most=max(figures))


class Runs(NamedTuple):
    """What programs have done."""

    time_ns: int
    runs: int

    def since(self, before: "Runs") -> "Runs":
        """What came after another reading."""
        return Runs(self.time_ns - before.time_ns, self.runs - before.runs)


def read_runs(process: int) -> Runs:
    """Of all BPF programs of a process, since they were loaded."""
    text = ""
    for path in Path(f"/proc/{process}/fdinfo").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile: programs stay open
            text += path.read_text()
    times = re.findall(r"^run_time_ns:\s*(\d+)$", text, re.MULTILINE)
    counts = re.findall(r"^run_cnt:\s*(\d+)$", text, re.MULTILINE)
    return Runs(sum(map(int, times)), sum(map(int, counts)))


@contextmanager
def statistics() -> Iterator[None]:
    """With the kernel's statistics of BPF programs."""
    before = STATISTICS.read_text()
    STATISTICS.write_text("1")
    try:
        yield
    finally:
        STATISTICS.write_text(before)

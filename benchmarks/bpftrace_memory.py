"""What memory bpftrace itself takes: ``python -m benchmarks.bpftrace_memory``, as root.

This machine's bpftrace and that of a later Debian, with the script that nfszbx gives them here,
with an empty one, and with settings of the C library's allocator. Memory is ``Pss_Anon`` of
``/proc``: without the text of programs and libraries, which the kernel can drop and read again.
It is read some seconds after the probes are attached; the settings take turns. Writes
``benchmarks/results/bpftrace_memory.json``.
"""

import json
import tempfile
import time
from pathlib import Path
from typing import TypedDict

from benchmarks.bpf_statistics import Spread, make_spread
from benchmarks.bpftraces import BEGIN_MARK, Bpftrace, find_bpftraces, running
from benchmarks.service import read_memory_bytes
from nfszbx.config import Config
from nfszbx.kernel.read import read_facts
from nfszbx.plan import make_plan
from nfszbx.script import Script, render_script

RESULTS = Path(__file__).parent / "results" / "bpftrace_memory.json"
ROUNDS = 3
SETTLE_SECONDS = 2.0
TRIM = {"MALLOC_TRIM_THRESHOLD_": "131072"}
MMAP = {"MALLOC_MMAP_THRESHOLD_": "65536"}
ARENA = {"MALLOC_ARENA_MAX": "1"}
PAGES = {"BPFTRACE_PERF_RB_PAGES": "8"}
SETTINGS: dict[str, dict[str, str]] = {
    "none": {},
    "MALLOC_ARENA_MAX=1": ARENA,
    "MALLOC_TRIM_THRESHOLD_=131072": TRIM,
    "MALLOC_MMAP_THRESHOLD_=65536": MMAP,
    "all three": {**ARENA, **TRIM, **MMAP},
    "all three, BPFTRACE_PERF_RB_PAGES=8": {**ARENA, **TRIM, **MMAP, **PAGES},
}


class Result(TypedDict):
    """Of one bpftrace; bytes by script and setting."""

    bpftrace: str
    memory_bytes: dict[str, dict[str, Spread]]


def measure(bpftrace: Bpftrace) -> Result:
    """All settings in turn."""
    facts = read_facts()
    mine = render_script(make_plan(facts, Config(interval_seconds=3600)))
    empty = Script(f'BEGIN {{ printf("{BEGIN_MARK}\\n"); }}\ninterval:s:3600 {{ $x = 1; }}\n', {})
    figures: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        for _ in range(ROUNDS):
            for title, script in (("nfszbx", mine), ("an empty script", empty)):
                for setting, environment in SETTINGS.items():
                    given = Script(script.text, {**script.environment, **environment})
                    with running(bpftrace, given, Path(name) / "script.bt") as process:
                        time.sleep(SETTLE_SECONDS)
                        found = float(read_memory_bytes(process, "Pss_Anon"))
                    figures.setdefault(title, {}).setdefault(setting, []).append(found)
    spreads = {
        title: {setting: make_spread(found) for setting, found in settings.items()}
        for title, settings in figures.items()
    }
    return Result(bpftrace=bpftrace.version, memory_bytes=spreads)


def main() -> None:
    """Measure, and write the results."""
    results = [measure(bpftrace) for bpftrace in find_bpftraces()]
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(RESULTS.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()

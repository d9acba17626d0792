"""Asks the kernel how many probe hits of a child it did not run."""

import re
from contextlib import suppress
from pathlib import Path


def read_missed_runs(pid: int) -> int | None:
    """Hits since the child's start at which its BPF programs were not run; None if unknown.

    A program is not run when it is already running on the same CPU. ``recursion_misses`` is in
    ``/proc/PID/fdinfo`` since Linux kernel commit 9ed9e9ba2337 ("bpf: Count the number of times
    recursion was prevented") (in v5.12).
    """
    total = None
    with suppress(OSError):  # the child ends while its descriptors are read
        for info in Path(f"/proc/{pid}/fdinfo").iterdir():
            match = re.search(r"^recursion_misses:\s*(\d+)$", info.read_text(), re.MULTILINE)
            if match:
                total = (total or 0) + int(match[1])
    return total

"""Asks the kernel how many probe hits of a child it did not run."""

import re
from pathlib import Path


def read_missed_runs(pid: int) -> int | None:
    """Hits since the child's start at which its BPF programs were not run; None if unknown.

    A program is not run when it is already running on the same CPU. ``recursion_misses`` is in
    ``/proc/PID/fdinfo`` since Linux kernel commit 9ed9e9ba2337 ("bpf: Count the number of times
    recursion was prevented") (in v5.12).
    """
    try:
        texts = [info.read_text() for info in Path(f"/proc/{pid}/fdinfo").iterdir()]
    except OSError:  # the child ends, or opens and closes files, while they are read
        return None
    counts = re.findall(r"^recursion_misses:\s*(\d+)$", "\n".join(texts), re.MULTILINE)
    return sum(map(int, counts)) if counts else None

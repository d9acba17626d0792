"""Whether a child has taken more and more memory."""

from pathlib import Path

MAX_GROWTH_BYTES = 256 << 20


def read_resident_bytes(pid: int) -> int | None:
    """The memory that a process has; None when it is gone. ``VmRSS`` of proc(5)."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    sizes = [line.split()[1] for line in lines if line.startswith("VmRSS:")]
    return int(sizes[0]) * 1024 if sizes else None


class Memory:
    """Compares with what the same process had when it was looked at first."""

    def __init__(self) -> None:
        self._pid: int | None = None
        self._first_bytes = 0

    def has_grown(self, pid: int | None) -> bool:
        """By more than a bpftrace that only counts ever does."""
        resident_bytes = read_resident_bytes(pid) if pid is not None else None
        if resident_bytes is None:
            return False
        if pid != self._pid:
            self._pid, self._first_bytes = pid, resident_bytes
        return resident_bytes > self._first_bytes + MAX_GROWTH_BYTES

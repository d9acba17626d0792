"""The process of the sinks of a running nfszbx."""

import time
from contextlib import suppress
from pathlib import Path

from tests.live.running import NfszbxRun

WAIT_SECONDS = 60.0


def read_status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def find_sinks(run: NfszbxRun) -> int:
    """The process of the sinks, as soon as it has given up root's rights."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        for path in Path(f"/proc/{run.process.pid}/task").glob("*/children"):
            for pid in map(int, path.read_text().split()):
                with suppress(OSError):
                    status = read_status(pid)
                    if status["Name"] == "nfszbx-sinks" and status["NoNewPrivs"] == "1":
                        return pid
        assert time.monotonic() < deadline, run.log_lines
        time.sleep(0.05)


def find_another(run: NfszbxRun, pid: int) -> int:
    """The one that has followed."""
    deadline = time.monotonic() + WAIT_SECONDS
    while (found := find_sinks(run)) == pid:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found

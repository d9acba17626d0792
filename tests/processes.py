"""Programs that tests make, and processes that they watch."""

import time
from contextlib import suppress
from pathlib import Path

import pexpect


def write_program(path: Path, text: str) -> str:
    """Make a shell script of ``text`` that can be executed; its path."""
    path.write_text(f"#!/bin/bash\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def end_spawned(process: "pexpect.spawn[str]") -> None:
    """Hang up, kill it if need be, and wait for its end."""
    with suppress(pexpect.ExceptionPexpect):  # pexpect gives up a tenth of a second after that
        process.close(force=True)
    while process.isalive():
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    """Is there a process with this id that is not a zombie?"""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def wait_until_gone(pid: int, timeout_seconds: float = 5.0) -> bool:
    """Wait for the end of a process; False when it is still there."""
    deadline = time.monotonic() + timeout_seconds
    while is_running(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True

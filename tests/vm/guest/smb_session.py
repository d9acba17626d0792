"""An smbclient that stays connected until it is told to end."""

import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

TIMEOUT_SECONDS = 200.0


class SmbSession:
    """Connects when it works. smbclient runs commands of the shell from its standard input only."""

    def __init__(self, command: Sequence[str], work: Sequence[str]) -> None:
        self._command = command
        self._work = work
        self._finished = Path(tempfile.mkdtemp()) / "finished"
        self._process: subprocess.Popen[str] | None = None

    def work(self) -> None:
        """Connect, do the work and wait until it is done."""
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._process.stdin
        for line in (*self._work, f"!touch {self._finished}"):
            self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not self._finished.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._process.kill()
                raise RuntimeError(f"smbclient has failed: {self._process.communicate()[0]}")
            time.sleep(0.1)

    def end(self) -> None:
        """Close the connection."""
        if self._process:
            said, _ = self._process.communicate(timeout=TIMEOUT_SECONDS)
            if "NT_STATUS" in said:
                raise RuntimeError(f"smbclient has failed: {said}")

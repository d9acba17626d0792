"""One run of smbstatus, which nobody waits for."""

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

TIMEOUT_SECONDS = 15
"""It takes some 50 ms; it waits where smbd holds a database, or a directory of users is slow."""
MAX_BYTES = 16_000_000
"""Of its output: some 20,000 sessions. And of what it says beside it."""
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_MAX_WORDS = 200
_KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)


class Command:
    """A program in the background, whose output goes to memory.

    ``timeout`` ends it in time even if this process has ended before. It is not forked by hand:
    this process has threads.
    """

    def __init__(self, words: Sequence[str]) -> None:
        """Start it. Raises OSError."""
        self._output = os.memfd_create("smbstatus", os.MFD_CLOEXEC)
        self._errors = os.memfd_create("smbstatus", os.MFD_CLOEXEC)
        try:
            self._process = subprocess.Popen(  # noqa: S603  nobody's words but ours
                ["timeout", "--signal=KILL", str(TIMEOUT_SECONDS), *words],  # noqa: S607
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._errors,
                env={"PATH": _PATH, "LC_ALL": "C.UTF-8"},
                cwd="/",
                start_new_session=True,
            )
        except BaseException:
            self._free()
            raise

    @property
    def has_ended(self) -> bool:
        """Never waits; ends what prints without end."""
        if self._process.poll() is not None:
            return True
        if self._is_too_long():
            self._kill()
        return False

    def take_output(self) -> bytes:
        """After the end, once. Raises OSError with what it has said when it has failed."""
        try:
            if self._process.returncode != 0 or self._is_too_long():
                raise OSError(self._explain())
            return os.pread(self._output, MAX_BYTES, 0)
        finally:
            self._free()

    def close(self) -> None:
        """End it now, if it has not ended. Where it cannot be ended, nobody waits for it."""
        self._kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        self._free()

    def _is_too_long(self) -> bool:
        return any(os.fstat(each).st_size > MAX_BYTES for each in (self._output, self._errors))

    def _kill(self) -> None:
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)  # timeout and what it has started

    def _explain(self) -> str:
        said = os.pread(self._errors, 4 * _MAX_WORDS, 0).decode("utf-8", "replace")
        words = " ".join("".join(c if c.isprintable() else " " for c in said).split())
        if self._process.returncode in _KILLED:
            return "it was killed, for it took too long or printed too much"
        return f"exit status {self._process.returncode}: {words[:_MAX_WORDS]}"

    def _free(self) -> None:
        for descriptor in (self._output, self._errors):
            if descriptor >= 0:
                os.close(descriptor)
        self._output = self._errors = -1


def find_program(name: str) -> Path | None:
    """Of the system's own folders, whatever PATH says: it runs as root."""
    found = (Path(folder) / name for folder in _PATH.split(":"))
    return next((path for path in found if os.access(path, os.X_OK)), None)

"""The directory of what outlasts a run; one nfszbx at a time uses it."""

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

from nfszbx.clock import monotonic_seconds
from nfszbx.errors import ConfigurationError, SinkStartError

_POLL_SECONDS = 0.1


def set_aside(database: Path) -> Path:
    """Where a damaged SQLite database is now, for whoever wants to look at it."""
    aside = database.with_name(f"{database.name}.damaged")
    database.replace(aside)
    for suffix in ("-wal", "-shm"):  # they would be taken for those of the next one
        with suppress(FileNotFoundError):
            database.with_name(f"{database.name}{suffix}").unlink()
    return aside


class StateDirectory:
    """Taken until the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        """Take it, and make it when it is missing.

        One that cannot be used is not an error: the disk may be full, or read-only for a while.
        Those who write there tell of it.
        """
        self.path = path
        self.is_in_use = False
        """Another process has it."""
        self._problem = ""
        self._descriptor: int | None = None
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._take(self._descriptor)
        except OSError as error:
            self._problem = error.strerror or str(error)

    def _take(self, descriptor: int) -> None:
        self.is_in_use = False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.is_in_use = True

    def is_ours(self) -> bool:
        """Is this the only nfszbx? Raises :class:`ConfigurationError` when nobody can tell."""
        if self._problem:
            raise ConfigurationError(
                f"state_directory: {self.path} cannot be used: {self._problem}",
                "--lock needs a directory that can be made and written to",
            )
        return not self.is_in_use

    def require(self, wait_seconds: float) -> None:
        """Take it after all: one that ends needs some seconds for it.

        Raises :class:`SinkStartError` when another process has it even then.
        """
        deadline = monotonic_seconds() + wait_seconds
        while self.is_in_use and self._descriptor is not None and monotonic_seconds() < deadline:
            time.sleep(_POLL_SECONDS)
            self._take(self._descriptor)
        if self.is_in_use:
            raise SinkStartError(
                f"state_directory: {self.path} is in use by another nfszbx",
                "stop that one, or give this one a state_directory of its own",
            )

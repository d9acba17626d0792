"""A directory that one nfszbx uses at a time."""

import fcntl
import os
from pathlib import Path

from nfszbx.errors import SinkStartError


class DirectoryLock:
    """Held until it is released or the process ends, however it ends."""

    def __init__(self, directory: Path) -> None:
        """Raises :class:`SinkStartError` when another process holds it, and OSError."""
        self._descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            if not isinstance(error, BlockingIOError):
                raise
            raise SinkStartError(
                f"spool.directory: {directory} is in use by another nfszbx",
                "stop that one, or give this one a directory of its own",
            ) from None

    def release(self) -> None:
        """Another process can have it now."""
        os.close(self._descriptor)

"""Asks the kernel which mount and inode a path leads to, without waiting for file systems.

The layout is that of ``struct statx`` in ``include/uapi/linux/stat.h``.
"""

import ctypes
import os
import struct
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from nfszbx.operations.export_lines import encode_path

WAIT_SECONDS = 0.25
"""For all paths together; a thousand of them on file systems that answer take some 5 ms."""
MAX_WAITING = 4
"""Threads that wait for file systems; then nothing is asked until one of them is back."""

_AT_SYMLINK_NOFOLLOW, _AT_NO_AUTOMOUNT, _AT_STATX_DONT_SYNC = 0x100, 0x800, 0x4000
_STATX_INO, _STATX_MNT_ID, _STATX_MNT_ID_UNIQUE = 0x100, 0x1000, 0x4000
_STATX_ATTR_MOUNT_ROOT = 0x2000
_STATX = struct.Struct("=I4xQ16xQ24x64x16xQ104x")
"""stx_mask, stx_attributes, stx_ino, stx_mnt_id."""
_LIBC = ctypes.CDLL(None, use_errno=True)


class PathKey(NamedTuple):
    """What the kernel's own structures say of an export: the key of its operations."""

    mount: int
    """``mnt_id``, or ``mnt_id_unique`` where there is one."""
    inode: int
    """0 for the root of the mount."""


class Place(NamedTuple):
    """A path as a process sees it."""

    root: Path
    """``/proc/PID/root``."""
    path: str


def read_key(place: Place, *, unique: bool) -> PathKey:
    """What the path leads to now; waits for the file system, for ever if that is dead.

    Raises OSError, also where the kernel does not tell the mount: ``STATX_MNT_ID`` is there since
    Linux kernel commit fa2fcf4f1df1 ("statx: add mount ID") (in v5.8), ``STATX_MNT_ID_UNIQUE``
    since 98d2b43081972 ("add unique mount ID") (in v6.8).
    """
    wanted = _STATX_MNT_ID_UNIQUE if unique else _STATX_MNT_ID
    buffer = ctypes.create_string_buffer(_STATX.size)
    flags = _AT_SYMLINK_NOFOLLOW | _AT_NO_AUTOMOUNT | _AT_STATX_DONT_SYNC
    path = encode_path(place.path.lstrip("/")) or b"."
    root = os.open(place.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        result = _LIBC.statx(root, path, flags, _STATX_INO | wanted, buffer)
        code = ctypes.get_errno()
    finally:
        os.close(root)
    if result != 0:
        raise OSError(code, os.strerror(code))
    mask, attributes, inode, mount = _STATX.unpack(buffer.raw)
    if not mask & wanted:
        raise OSError(0, "the kernel does not tell the number of its mount")
    return PathKey(mount, 0 if attributes & _STATX_ATTR_MOUNT_ROOT else inode)


class KeyReader:
    """Reads keys in a thread: a file system that does not answer holds up nothing else."""

    def __init__(self, *, unique: bool) -> None:
        self._unique = unique
        self._waiting: list[_Reading] = []

    def read(self, places: Iterable[Place]) -> dict[Place, PathKey | OSError]:
        """The keys, or why there are none; what is missing is to be asked for again, later.

        Waits :data:`WAIT_SECONDS` at most. A path that a thread still waits for is left alone.
        """
        self._waiting = [reading for reading in self._waiting if reading.is_alive()]
        held = {reading.current for reading in self._waiting}
        wanted = [place for place in places if place not in held]
        if not wanted or len(self._waiting) >= MAX_WAITING:
            return {}
        reading = _Reading(wanted, unique=self._unique)
        reading.start()
        reading.join(WAIT_SECONDS)
        if reading.is_alive():
            reading.is_over = True
            self._waiting.append(reading)
        return reading.found.copy()  # in one step, whatever the thread does


class _Reading(threading.Thread):
    def __init__(self, places: Iterable[Place], *, unique: bool) -> None:
        super().__init__(name="exports", daemon=True)  # the end of nfszbx does not wait for it
        self._places = tuple(places)
        self._unique = unique
        self.current: Place | None = None
        self.found: dict[Place, PathKey | OSError] = {}
        self.is_over = False
        """Nobody waits any more."""

    def run(self) -> None:
        for place in self._places:
            if self.is_over:
                return
            self.current = place
            try:
                self.found[place] = read_key(place, unique=self._unique)
            except OSError as error:
                self.found[place] = error

"""Reads the kernel's lists of exports and of mounts; pure.

Names of files are texts with what is not UTF-8 as Python's "surrogateescape" has it.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

_ESCAPED = re.compile(rb"\\([0-7]{3})")


class Mount(NamedTuple):
    """A line of ``/proc/PID/mountinfo``."""

    parent: int
    """``mnt_id`` of the mount that it stands on; one that is not in the list, for the first."""
    point: str
    """Where, as the process sees it."""


def parse_exports(content: bytes) -> tuple[str, ...]:
    """The paths of ``/proc/net/rpc/nfsd.export/content``, each once.

    Since what is asked is where they lead, and not who may go there, all lines are equal: those
    of all clients, and those that begin with ``# `` (expired or negative; ``c_show`` in
    ``net/sunrpc/cache.c``), which may have been in use a moment ago. A directory that was removed
    ends in `` (deleted)``. What is no path is left out.
    """
    lines = (line.removeprefix(b"# ") for line in content.split(b"\n"))
    paths = (line.partition(b"\t")[0] for line in lines if line.startswith(b"/"))
    return tuple(dict.fromkeys(map(_unescape, paths)))


def parse_mounts(mountinfo: bytes) -> dict[int, Mount]:
    """The mounts by ``mnt_id``; lines of another form are left out."""
    mounts = {}
    for line in mountinfo.split(b"\n"):
        words = line.split(b" ", 5)
        if len(words) > 5 and words[0].isdigit() and words[1].isdigit():  # noqa: PLR2004  columns
            mounts[int(words[0])] = Mount(int(words[1]), _unescape(words[4]))
    return mounts


class Mounts:
    """Which mount is where, for a process."""

    def __init__(self, mounts: Mapping[int, Mount]) -> None:
        self._mounts = mounts
        self._at: dict[str, list[int]] = {}
        for number, mount in mounts.items():
            self._at.setdefault(mount.point, []).append(number)

    def find(self, path: str) -> int | None:
        """``mnt_id`` of the mount whose root is at the path; None where none is, or in doubt.

        Goes the way of the kernel, from mount to mount: one that is hidden below another is still
        in the list.
        """
        here = [
            number
            for number in self._at.get("/", [])
            if self._mounts[number].parent not in self._mounts
            or self._mounts[number].parent == number
        ]
        left = {number for point in _list_ways(path) for number in self._at.get(point, [])}
        while len(here) == 1:
            (number,) = here
            left.discard(number)
            next_ones = [n for n in left if self._mounts[n].parent == number]
            if not next_ones:
                return number if self._mounts[number].point == path else None
            nearest = min(len(self._mounts[n].point) for n in next_ones)
            here = [n for n in next_ones if len(self._mounts[n].point) == nearest]
        return None


def name_path(path: str) -> str:
    r"""The path as a label: what cannot be printed, and the backslash, as ``\ooo`` like the kernel.

    So no two paths have one name.
    """
    return "".join(
        character
        if character.isprintable() and character != "\\"
        else "".join(f"\\{byte:03o}" for byte in encode_path(character))
        for character in path
    )


def encode_path(path: str) -> bytes:
    """For the kernel."""
    return path.encode("utf-8", "surrogateescape")


def _list_ways(path: str) -> Iterator[str]:
    """The directories that lead there, and itself."""
    yield "/"
    for found in re.finditer("/", path):
        yield path[: found.start()]
    yield path


def _unescape(name: bytes) -> str:
    plain = _ESCAPED.sub(lambda found: bytes([int(found[1], 8) & 0xFF]), name)
    return plain.decode("utf-8", "surrogateescape")

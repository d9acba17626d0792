"""Compares two readings of the kernel's maps: what was added, if the later one can follow at all.

The counters are cumulative and begin at zero with each child.
"""

from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from nfszbx.errors import DumpError


class Reading(Protocol):
    """When a child began, and when it was read, on the kernel's clock since boot."""

    @property
    def begin_ns(self) -> int: ...  # noqa: D102  said above
    @property
    def end_ns(self) -> int: ...  # noqa: D102


_Key = TypeVar("_Key")
_Reading = TypeVar("_Reading", bound=Reading)


def find_base(
    last: _Reading | None, dump: Reading, begin: Callable[[int, int], _Reading]
) -> _Reading | None:
    """What the dump follows: the last one of its child, or the child's begin.

    That is made by ``begin``. None when the dump repeats the last one. Raises :class:`DumpError`
    for one that is older.
    """
    base = last
    if base is None or base.begin_ns != dump.begin_ns:
        if base is not None and dump.begin_ns < base.end_ns:
            raise DumpError("a dump of a child that began before the last dump was made")
        base = begin(dump.begin_ns, dump.begin_ns)
    if dump.end_ns < base.end_ns:
        raise DumpError("a dump older than the one before")
    return base if dump.end_ns > base.end_ns else None


def find_growth(
    earlier: Mapping[_Key, int], later: Mapping[_Key, int], what: str
) -> dict[_Key, int]:
    """What has been added to each; what has not grown is left out.

    Raises :class:`DumpError` where one is missing or counts less than before: nothing is ever
    deleted from the maps. ``what`` says in the message what they count.
    """
    growth = {
        key: count - before
        for key, count in later.items()
        if count != (before := earlier.get(key, 0))
    }
    if not earlier.keys() <= later.keys() or min(growth.values(), default=0) < 0:
        key = next(key for key, count in earlier.items() if later.get(key, -1) < count)
        found = later.get(key, "nothing")
        raise DumpError(f"incomplete dump: {what} {key} had {earlier[key]} and now has {found}")
    return growth

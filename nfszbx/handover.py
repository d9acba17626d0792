"""Finds where to go on when a new child takes over while the old one still counts.

Both count the same bytes, so from the moment when the new one has all its probes, its counts are
those of the old one less a constant. A dump of the new one that was made after a dump of the old
one had been read bounds the constant: the new one is ahead by no more than it is there. The least
of these bounds tells what is already reported of the new one's counts when the old one has given
its last dump. For a client that moved nothing between two such dumps, even once, it is exact; for
others it is too large, never too small: nothing is counted twice, and what is missing is found by
the ledger.
"""

from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from nfszbx.dump import Dump
from nfszbx.traffic import Slot

_Key = TypeVar("_Key", bound=Hashable)


@dataclass(frozen=True)
class Start:
    """Where the counts of a new child begin to be news. Bytes."""

    begin_ns: int
    """When the old child was last counted."""
    total_bytes: Mapping[Slot, int]
    client_bytes: Mapping[tuple[Slot, str], int]
    closed_bytes: Mapping[tuple[Slot, str], int]

    def apply(self, dump: Dump) -> Dump:
        """The dump of a child that began where the old one has ended."""
        closed = dump.closed_bytes
        return replace(
            dump,
            begin_ns=self.begin_ns,
            total_bytes=_subtract(dump.total_bytes, self.total_bytes),
            client_bytes=_subtract(dump.client_bytes, self.client_bytes),
            closed_bytes=None if closed is None else _subtract(closed, self.closed_bytes),
        )


class Handover:
    """The state while two children count, until the new one goes on alone."""

    def __init__(self) -> None:
        self._old: Dump | None = None
        self._old_read_ns = 0
        self._old_fits = True
        self._clients_ahead: dict[tuple[Slot, str], int] = {}
        self._closed_ahead: dict[tuple[Slot, str], int] = {}

    def take_old(self, dump: Dump, read_ns: int, *, fits: bool = True) -> None:
        """A dump of the old child, as it is reported; read at that time since boot.

        ``fits`` is False when its maps had no room for every client.
        """
        self._old, self._old_read_ns = dump, read_ns
        self._old_fits = self._old_fits and fits

    def take_new(self, dump: Dump) -> bool:
        """A dump of the new child; True when it was made after the last one of the old was read."""
        if self._old is None or dump.end_ns <= self._old_read_ns:
            return False
        _bound(self._clients_ahead, dump.client_bytes, self._old.client_bytes)
        _bound(self._closed_ahead, dump.closed_bytes or {}, self._old.closed_bytes or {})
        return True

    def finish(self, dump: Dump) -> Start | None:
        """Where to go on, after the old one's last dump; None if the new dump came too early."""
        if not self.take_new(dump) or self._old is None:
            return None
        clients = self._find_start(self._clients_ahead, self._old.client_bytes, dump.client_bytes)
        # The totals are those of the clients and what has no client; otherwise a client's bytes
        # that are left out here would be of nobody.
        totals = Counter(dump.total_bytes)
        for (slot, _), count in dump.client_bytes.items():
            totals[slot] -= count
        totals = +totals
        for (slot, _), count in clients.items():
            totals[slot] += count
        closed = self._find_start(
            self._closed_ahead, self._old.closed_bytes or {}, dump.closed_bytes or {}
        )
        return Start(self._old.end_ns, totals, clients, closed)

    def _find_start(
        self, ahead: Mapping[_Key, int], old: Mapping[_Key, int], new: Mapping[_Key, int]
    ) -> dict[_Key, int]:
        """Whom the old child had no room for, it may have counted all the same: without a name."""
        return {
            key: max(0, old.get(key, 0) + ahead[key]) if self._old_fits or key in old else count
            for key, count in new.items()
        }


def _bound(ahead: dict[_Key, int], new: Mapping[_Key, int], old: Mapping[_Key, int]) -> None:
    for key in new.keys() | old.keys():
        difference = new.get(key, 0) - old.get(key, 0)
        ahead[key] = min(difference, ahead.get(key, difference))


def _subtract(counts: Mapping[_Key, int], start: Mapping[_Key, int]) -> dict[_Key, int]:
    return {key: max(0, count - start.get(key, 0)) for key, count in counts.items()}

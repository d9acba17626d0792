"""Turns dump after dump into exact differences per client and counters that only grow.

The kernel's counters are cumulative and begin at zero with each child. Here they become, per
service and direction, a total and rows: one for each client that :mod:`nfszbx.rows` chose, and
``other`` for everything else. In every delta the rows add up to the total, to the byte.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from nfszbx.dump import Dump
from nfszbx.errors import DumpError
from nfszbx.growth import find_base, find_growth
from nfszbx.rows import Rows
from nfszbx.traffic import OTHER, SLOTS, Slot

MAX_REMEMBERED = 50_000
"""Rows of clients that had one, beside as many as may be shown.

Beyond that, the one that was lost first would begin anew.
"""
_ROWS_PER_CLIENT = 2
"""One for each direction; hardly any client uses several services."""


class Bytes(NamedTuple):
    """Bytes in one interval, and since counting began; that outlasts nfszbx, not the machine."""

    interval: int
    total: int


@dataclass(frozen=True)
class Delta:
    """What flowed between two dumps of one child, or from a child's begin to its first dump."""

    end_ns: int
    elapsed_ns: int
    """Above zero."""
    complete: bool
    """False when traffic before this interval was missed: an earlier child ended and took what had
    come since its last dump with it, or an earlier run of nfszbx did, and nothing was counted until
    this one began."""
    gap_ns: int
    """What passed before this interval without anything being counted, where that is known."""
    totals: Mapping[Slot, Bytes]
    """Every slot."""
    rows: Mapping[tuple[Slot, str], Bytes]
    """By slot and client or ``other``. A client without any traffic in a slot has no row there."""
    clients: Mapping[Slot, Mapping[str, int]]
    """Bytes in the interval of every client that moved any, with a row or not, by slot; ``other``
    is what the kernel had no room for."""
    map_entries: int
    """Entries of the kernel's map of clients."""


@dataclass(frozen=True)
class _Child:
    """What the last usable dump of the child told."""

    begin_ns: int
    end_ns: int
    total_bytes: Mapping[Slot, int] = field(default_factory=dict)
    client_bytes: Mapping[tuple[Slot, str], int] = field(default_factory=dict)
    interval_bytes: dict[Slot, dict[str, int]] = field(default_factory=dict)
    """What that dump has added, of the clients to which it has added any, by slot."""
    covered_bytes: Counter[Slot] = field(default_factory=Counter)
    """Of all clients."""
    overflow_bytes: Mapping[Slot, int] = field(default_factory=dict)
    """What flowed beside the clients' map because it was full."""


@dataclass(frozen=True)
class SavedCounters:
    """Where an earlier run has left off, in bytes."""

    totals: Mapping[Slot, int] = field(default_factory=dict)
    rows: Mapping[tuple[Slot, str], int] = field(default_factory=dict)
    """The one longest idle first."""


class Counters:
    """The state between dumps."""

    def __init__(
        self, max_clients: int, client_idle_seconds: float, saved: SavedCounters | None = None
    ) -> None:
        """``saved`` if an earlier run is to be continued: what came in between was missed."""
        self.rows = Rows[str](max_clients, client_idle_seconds)
        self._child: _Child | None = None
        self._continues = saved is not None
        saved = saved or SavedCounters()
        self._totals: Counter[Slot] = Counter(dict(saved.totals))
        self._row_totals: dict[tuple[Slot, str], int] = {}
        """Of what is shown."""
        self._hidden: dict[tuple[Slot, str], int] = {}
        """Of clients that have lost their rows, the first to lose it first."""
        for key, count in saved.rows.items():
            (self._row_totals if key[1] == OTHER else self._hidden)[key] = count

    def advance(self, dump: Dump) -> Delta | None:
        """What the dump adds; None when it repeats the one before.

        Raises :class:`DumpError`, and leaves the counters as they were, for a dump that cannot
        follow the one before: an older one, one that lacks a client, or one that counts less.
        """
        first_ever = self._child is None
        base = find_base(self._child, dump, _Child)
        if base is None:
            return None
        takes_over = self._child is not None and dump.begin_ns == self._child.end_ns
        complete = base is self._child or takes_over or (first_ever and not self._continues)
        child = _follow(base, dump)
        gap_ns = base.end_ns - self._child.end_ns if self._child else 0
        self._child = child
        return self._account(base, child, complete=complete, gap_ns=gap_ns)

    def _account(self, base: _Child, child: _Child, *, complete: bool, gap_ns: int) -> Delta:
        # Every slot that has seen traffic: its row ``other`` is there, also with zero.
        overflow = {
            slot: count - base.overflow_bytes.get(slot, 0)
            for slot, count in child.overflow_bytes.items()
        }
        clients = child.interval_bytes
        self._choose_rows(clients, child.end_ns, is_new_child=base.end_ns == base.begin_ns)

        named = _sum_slots(clients)
        totals = Counter(overflow) + named
        rows = {(slot, OTHER): count for slot, count in overflow.items()}
        for slot, counts in clients.items():
            shown = {client: counts[client] for client in counts.keys() & self.rows.shown}
            rows.update({(slot, client): count for client, count in shown.items()})
            if hidden := named[slot] - sum(shown.values()):
                rows[slot, OTHER] = rows.get((slot, OTHER), 0) + hidden
        self._totals.update(totals)
        for key, count in rows.items():
            self._row_totals[key] = self._row_totals.get(key, 0) + count
        return Delta(
            end_ns=child.end_ns,
            elapsed_ns=child.end_ns - base.end_ns,
            complete=complete,
            gap_ns=gap_ns,
            totals={slot: Bytes(totals[slot], self._totals[slot]) for slot in SLOTS},
            rows={key: Bytes(rows.get(key, 0), total) for key, total in self._row_totals.items()},
            clients=clients
            | {
                slot: {**clients.get(slot, {}), OTHER: count}
                for slot, count in overflow.items()
                if count
            },
            map_entries=len(child.client_bytes),
        )

    def _choose_rows(
        self, clients: Mapping[Slot, Mapping[str, int]], end_ns: int, *, is_new_child: bool
    ) -> None:
        """A client that loses its row and gets it back later counts on."""
        by_client: Counter[str] = Counter()
        for counts in clients.values():
            by_client.update(counts)
        before = self.rows.shown
        self.rows.update(by_client, end_ns, is_new_map=is_new_child)
        for client in sorted(before - self.rows.shown):
            _move(client, self._row_totals, self._hidden)
        for client in sorted(self.rows.shown - before):
            _move(client, self._hidden, self._row_totals)
        excess = len(self._hidden) - MAX_REMEMBERED - _ROWS_PER_CLIENT * self.rows.max_rows
        for key in list(islice(self._hidden, max(0, excess))):
            del self._hidden[key]


def _move(
    client: str, source: dict[tuple[Slot, str], int], target: dict[tuple[Slot, str], int]
) -> None:
    for slot in SLOTS:
        if (count := source.pop((slot, client), None)) is not None:
            target[slot, client] = count


def _group(clients: Mapping[tuple[Slot, str], int]) -> dict[Slot, dict[str, int]]:
    groups: dict[Slot, dict[str, int]] = {slot: {} for slot in SLOTS}
    for (slot, client), count in clients.items():
        groups[slot][client] = count
    return {slot: counts for slot, counts in groups.items() if counts}


def _sum_slots(clients: Mapping[Slot, Mapping[str, int]]) -> Counter[Slot]:
    return Counter({slot: sum(counts.values()) for slot, counts in clients.items()})


def _follow(base: _Child, dump: Dump) -> _Child:
    """The child after the dump; refuses a dump that cannot be a later reading of the same maps.

    bpftrace prints each map whole, in one record, and nothing is ever deleted from the maps. So a
    client that is missing, or totals without any client, mean that a record was lost.
    """
    find_growth(base.total_bytes, dump.total_bytes, "total")
    interval_bytes = _group(find_growth(base.client_bytes, dump.client_bytes, "client"))
    if any(dump.total_bytes.values()) and not dump.client_bytes:
        raise DumpError("incomplete dump: totals without clients")
    covered = base.covered_bytes + _sum_slots(interval_bytes)
    # The totals were read before the clients and so may lag behind them, never the reverse.
    overflow = {
        slot: max(base.overflow_bytes.get(slot, 0), total - covered[slot])
        for slot, total in dump.total_bytes.items()
    }
    return _Child(
        base.begin_ns,
        dump.end_ns,
        dump.total_bytes,
        dump.client_bytes,
        interval_bytes,
        covered,
        overflow,
    )

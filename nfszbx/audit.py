"""Compares what was counted with the kernel's own counters per socket: is nfszbx right?

The two cannot be read at the same moment, so the truth is kept between two bounds. The kernel's
bytes are those of the connections that exist, from a reading of the sockets, and those of the
connections that have closed, from the dumps. Both only grow. For a dump, the truth is at least the
sockets as read before it plus what the dump before it says of closed ones; and at most the sockets
as read after it plus what the dump after it says of closed ones. Counts between the bounds are
right as far as anyone can tell.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import NamedTuple

from nfszbx.connections import Connections, Moved, bound_low
from nfszbx.dump import Dump
from nfszbx.plan import PortGroup
from nfszbx.traffic import Direction, Service, Slot

PortCounts = Mapping[tuple[int, Direction], int]
"""What a reading of the sockets gives: bytes by local port and direction; zero may be missing."""


def sum_high(connections: Connections) -> PortCounts:
    """What applications had at most moved when the reading began."""
    return _sum((each.port, each.bound_high()) for each in connections.values())


def sum_low(earlier: Connections, later: Connections) -> PortCounts:
    """What applications had at least moved when the later of two readings ended."""
    both = earlier.keys() & later.keys()
    return _sum((later[key].port, bound_low(earlier[key], later[key])) for key in both)


def _sum(positions: Iterable[tuple[int, Moved]]) -> PortCounts:
    counts: Counter[tuple[int, Direction]] = Counter()
    for port, moved in positions:
        counts[port, Direction.RECEIVE] += moved.receive
        counts[port, Direction.TRANSMIT] += moved.transmit
    return counts


class SocketReading(NamedTuple):
    """A bound of the sockets' counts, and when reading them ended: nanoseconds since boot."""

    counts: PortCounts
    end_ns: int
    namespaces: frozenset[int] = frozenset()
    """Where they were read: the numbers of network namespaces."""


class Truth(NamedTuple):
    """Bounds of what the kernel's sockets have moved, in bytes."""

    low: int
    high: int


@dataclass(frozen=True)
class Drift:
    """What was counted against what flowed between two dumps, for services that share ports."""

    group: PortGroup
    direction: Direction
    counted_bytes: int
    truth: Truth

    @property
    def bytes(self) -> int:
        """Bytes that were counted too much, or below zero too little; 0 within the bounds."""
        low, high = self.truth
        return self.counted_bytes - max(low, min(high, self.counted_bytes))

    @property
    def ratio(self) -> float:
        """The same as a part of what flowed. 0 when nothing did, and nothing was counted."""
        flowed = self.counted_bytes - self.bytes
        return self.bytes / max(1, flowed) if self.bytes else 0.0


_Key = tuple[PortGroup, Direction]


@dataclass(frozen=True)
class _Reading:
    """A dump with the sockets before and after it; a later dump completes ``high``."""

    counted: Mapping[_Key, int]
    low: Mapping[_Key, int]
    high: Mapping[_Key, int]
    end_ns: int
    """When the reading after the dump ended."""
    namespaces: frozenset[int]


class Audit:
    """The state between dumps; forgets everything when a child ends, and its counters with it."""

    def __init__(self, groups: Iterable[PortGroup], directions: Iterable[Direction]) -> None:
        self._keys = list(product(groups, directions))
        self._dump: Dump | None = None
        self._before: SocketReading | None = None
        self._open: _Reading | None = None
        self._last: _Reading | None = None

    def take_sockets(self, reading: SocketReading) -> None:
        """A reading some time before the next dump."""
        self._before = reading

    @property
    def is_waiting(self) -> bool:
        """Is a reading to be made right after the next dump?"""
        return self._before is not None

    def take_dump(self, dump: Dump, sum_sockets: Callable[[], SocketReading] | None) -> list[Drift]:
        """The drift since the last audited dump, when this dump completes an audit.

        ``sum_sockets`` gives a reading made right after the dump; called only when it is needed.
        None where there was none.
        """
        previous, self._dump = self._dump, dump
        before, self._before = self._before, None
        if (
            previous is None
            or previous.begin_ns != dump.begin_ns
            or previous.closed_bytes is None
            or dump.closed_bytes is None
        ):
            self._open = self._last = None
            return []
        drifts = []
        closed = self._sum_closed(dump.closed_bytes)
        # A dump that was late in being read does not hold what closed before the sockets were read.
        if self._open is not None and self._open.end_ns < dump.end_ns:
            high = {key: count + closed[key] for key, count in self._open.high.items()}
            reading = replace(self._open, high=high)
            # A server that is stopped loses its listener before its connections, and with it its
            # namespace is not read: the connections then seem to come from nowhere.
            if self._last is not None and self._last.namespaces == reading.namespaces:
                drifts = self._compare(self._last, reading)
            self._last, self._open = reading, None
        # The dump was made after its mark; a reading that ended later says nothing of it.
        if before is not None and before.end_ns < dump.end_ns and sum_sockets is not None:
            closed_before = self._sum_closed(previous.closed_bytes)
            low = {key: n + closed_before[key] for key, n in self._sum_ports(before.counts).items()}
            after = sum_sockets()
            high = self._sum_ports(after.counts)
            counted = self._sum_slots(dump.total_bytes)
            self._open = _Reading(counted, low, high, after.end_ns, after.namespaces)
        return drifts

    def _compare(self, first: _Reading, second: _Reading) -> list[Drift]:
        drifts = []
        for key in self._keys:
            low = max(0, second.low[key] - first.high[key])
            high = second.high[key] - first.low[key]
            # Otherwise connections have gone unseen, with their namespace: the truth is not known.
            if low <= high:
                counted = second.counted[key] - first.counted[key]
                drifts.append(Drift(*key, counted, Truth(low, high)))
        return drifts

    def _sum_slots(self, counts: Mapping[Slot, int]) -> dict[_Key, int]:
        return {
            (group, direction): sum(
                counts.get(Slot(service, direction), 0) for service in group.services
            )
            for group, direction in self._keys
        }

    def _sum_closed(self, counts: Mapping[tuple[Slot, str], int]) -> dict[_Key, int]:
        slots: Counter[Slot] = Counter()
        for (slot, _), count in counts.items():
            slots[slot] += count
        return self._sum_slots(slots)

    def _sum_ports(self, sockets: PortCounts) -> dict[_Key, int]:
        return {
            (group, direction): sum(sockets.get((port, direction), 0) for port in group.ports)
            for group, direction in self._keys
        }


def spread(
    drifts: list[Drift], counts: Mapping[Slot, int]
) -> dict[tuple[Service, Direction], float]:
    """The ratios by service: of services that share ports, those that have had traffic at all.

    Without any traffic it is the first of them.
    """
    ratios = {}
    for drift in drifts:
        services = drift.group.services
        seen = [s for s in services if counts.get(Slot(s, drift.direction))]
        for service in seen or services[:1]:
            ratios[service, drift.direction] = drift.ratio
    return ratios

"""Decides who has a row of their own: those with the most recent traffic.

A row stands for a client, or for a client, an export and a user together. One without traffic for a
time to live has none, even where there is room: what shows rows would otherwise keep every client
that ever came.
"""

from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

DECAY = 0.9
"""What an interval's traffic still weighs one interval later; a half after about seven."""
_NANOSECONDS_PER_SECOND = 1_000_000_000


_Row = TypeVar("_Row", bound=Hashable)


class Rows(Generic[_Row]):
    """Those that have rows; at most as many as allowed.

    A client keeps its row until it has been idle for long, or one with more recent traffic needs
    it: every interval weighs nine tenths of the one after it, so a short pause costs nobody the
    row.
    """

    def __init__(self, max_rows: int, idle_seconds: float) -> None:
        self.limit(max_rows, idle_seconds)
        self._weights: dict[_Row, float] = {}
        self._active_ns: dict[_Row, int] = {}
        """When each was last active, of those with a weight."""
        self.shown: frozenset[_Row] = frozenset()

    def limit(self, max_rows: int, idle_seconds: float) -> None:
        """A client that has moved nothing for longer than ``idle_seconds`` loses its row."""
        self.max_rows = max_rows
        self._idle_ns = round(idle_seconds * _NANOSECONDS_PER_SECOND)

    def update(self, traffic: Mapping[_Row, int], end_ns: int, *, is_new_map: bool) -> None:
        """Choose anew after an interval that ended then, on the clock of the dumps.

        ``traffic`` is what flowed in it, in bytes or in operations, of those with any. With
        ``is_new_map`` they are all that the kernel's map holds: of all others only those with a row
        stay known, so that there are never more of them than the map and the rows have places.
        """
        known = self._active_ns
        if is_new_map:
            known = {client: ns for client, ns in known.items() if client in self.shown}
        oldest_ns = end_ns - self._idle_ns
        known.update(dict.fromkeys(traffic, end_ns))
        known = {client: ns for client, ns in known.items() if ns >= oldest_ns}
        weights = self._weights
        self._active_ns = known
        self._weights = {
            client: weights.get(client, 0.0) * DECAY + traffic.get(client, 0) for client in known
        }
        self.shown = frozenset(known if len(known) <= self.max_rows else self._rank())

    def _rank(self) -> list[_Row]:
        """The first by traffic; among equals, those that have a row, then by name."""
        weights, shown = self._weights, self.shown
        ranked = sorted(weights, key=lambda c: (-weights[c], c not in shown, c))
        return ranked[: self.max_rows]

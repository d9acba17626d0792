"""Decides which clients have rows of their own: those with the most recent traffic.

A client without traffic for a time to live has none, even where there is room: what shows rows
would otherwise keep every client that ever came.
"""

from collections.abc import Mapping

DECAY = 0.9
"""What an interval's traffic still weighs one interval later; a half after about seven."""
_NANOSECONDS_PER_SECOND = 1_000_000_000


class Rows:
    """The clients with rows; at most as many as allowed.

    A client keeps its row until it has been idle for long, or one with more recent traffic needs
    it: every interval weighs nine tenths of the one after it, so a short pause costs nobody the
    row.
    """

    def __init__(self, max_clients: int, idle_seconds: float) -> None:
        self.limit(max_clients, idle_seconds)
        self._weights: dict[str, float] = {}
        self._active_ns: dict[str, int] = {}
        """When each was last active, of those with a weight."""
        self.clients: frozenset[str] = frozenset()

    def limit(self, max_clients: int, idle_seconds: float) -> None:
        """A client that has moved nothing for longer than ``idle_seconds`` loses its row."""
        self.max_clients = max_clients
        self._idle_ns = round(idle_seconds * _NANOSECONDS_PER_SECOND)

    def update(self, interval_bytes: Mapping[str, int], end_ns: int, *, is_new_map: bool) -> None:
        """Choose anew after an interval that ended then, on the clock of the dumps.

        ``interval_bytes`` are those of the clients that moved any. With ``is_new_map`` they are all
        that the kernel's map holds: of all others only those with a row stay known, so that there
        are never more of them than the map and the rows have places.
        """
        known = self._active_ns
        if is_new_map:
            known = {client: ns for client, ns in known.items() if client in self.clients}
        oldest_ns = end_ns - self._idle_ns
        known.update(dict.fromkeys(interval_bytes, end_ns))
        known = {client: ns for client, ns in known.items() if ns >= oldest_ns}
        weights = self._weights
        self._active_ns = known
        self._weights = {
            client: weights.get(client, 0.0) * DECAY + interval_bytes.get(client, 0)
            for client in known
        }
        self.clients = frozenset(known if len(known) <= self.max_clients else self._rank())

    def _rank(self) -> list[str]:
        """The first by traffic; among equals, those that have a row, then by address."""
        weights, shown = self._weights, self.clients
        ranked = sorted(weights, key=lambda c: (-weights[c], c not in shown, c))
        return ranked[: self.max_clients]

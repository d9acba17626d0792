"""Decides which clients have rows of their own: those with the most recent traffic."""

from collections.abc import Mapping

DECAY = 0.9
"""What an interval's traffic still weighs one interval later; a half after about seven."""


class Rows:
    """The clients with rows; at most as many as allowed.

    A client keeps its row until one with more recent traffic needs it: every interval weighs
    nine tenths of the one after it, so a short pause costs nobody the row.
    """

    def __init__(self, max_clients: int) -> None:
        self._max_clients = max_clients
        self._weights: dict[str, float] = {}
        self.clients: frozenset[str] = frozenset()

    def update(self, interval_bytes: Mapping[str, int]) -> None:
        """Choose anew after an interval.

        ``interval_bytes`` has every client that the kernel's map holds, also with 0; of the
        others only those with a row stay known.
        """
        weights = {
            client: self._weights.get(client, 0.0) * DECAY + interval_bytes.get(client, 0)
            for client in self.clients.union(interval_bytes)
        }
        ranked = weights.keys() if len(weights) <= self._max_clients else self._rank(weights)
        self.clients = frozenset(ranked)
        self._weights = weights

    def _rank(self, weights: Mapping[str, float]) -> list[str]:
        """The first by traffic; among equals, those that have a row, then by address."""
        ranked = sorted(weights, key=lambda c: (-weights[c], c not in self.clients, c))
        return ranked[: self._max_clients]

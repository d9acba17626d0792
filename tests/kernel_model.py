"""A kernel whose truth is known: what bpftrace would print for a generated script.

The lines have the form of the recorded streams, as ``tests/soak/test_soak.py`` shows. As in the
kernel, the map of clients frees nothing, and what does not fit is in the totals alone. When it is
nearly full, the child says its last, and another one begins with an empty map.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address

from nfszbx.pipeline import NEARLY_FULL
from nfszbx.traffic import Slot

SECOND_NS = 1_000_000_000
_NETWORK = 10 << 24
_IPV4_MAPPED = 0xFFFF0000
"""The third word of ``::ffff:0:0/96``, read from memory on a little-endian machine."""


def address_of(client: int) -> str:
    """The address of the client with this number."""
    return str(IPv4Address(_NETWORK + client))


class KernelModel:
    """One machine, child after child."""

    def __init__(self, map_max_entries: int, interval_seconds: int = 10) -> None:
        self.totals: Counter[Slot] = Counter()
        """The truth: bytes since the machine began."""
        self.now_ns = 1_000 * SECOND_NS
        self.children = 0
        self._map_max_entries = map_max_entries
        self._interval_ns = interval_seconds * SECOND_NS
        self._child_totals: dict[str, int] = {}
        self._map: dict[str, int] = {}

    def flow(self, slot: Slot, client: int, count: int) -> bool:
        """So many bytes of the client with this number; False when the map had no room for it."""
        self.totals[slot] += count
        number = str(slot.number)
        self._child_totals[number] = self._child_totals.get(number, 0) + count
        key = f"{number},0,{_low_half(client)}"
        has_room = key in self._map or len(self._map) < self._map_max_entries
        if has_room:
            self._map[key] = self._map.get(key, 0) + count
        return has_room

    def end_interval(self) -> Iterator[str]:
        """The lines that come at the end of an interval, and those of another child if need be."""
        if not self.children:
            yield self._begin_child()
        self.now_ns += self._interval_ns
        is_last = len(self._map) >= NEARLY_FULL * self._map_max_entries
        yield from self._dump("last" if is_last else "end")
        if is_last:
            self._child_totals, self._map = {}, {}
            yield self._begin_child()

    def _begin_child(self) -> str:
        self.children += 1
        self.now_ns += 1
        return self._mark("begin")

    def _dump(self, mark: str) -> Iterator[str]:
        tables: Mapping[str, Mapping[str, int]] = {
            "@total_bytes": self._child_totals,
            "@client_bytes": self._map,
        }
        for name, table in tables.items():
            if table:  # bpftrace prints no line for a map without entries
                yield json.dumps({"type": "map", "data": {name: table}})
        yield self._mark(mark)

    def _mark(self, mark: str) -> str:
        return json.dumps({"type": "printf", "data": f"nfszbx {mark} {self.now_ns}\n"})


def _low_half(client: int) -> int:
    """The second half of the client's address as bpftrace prints it, which may be below zero."""
    word = int.from_bytes((_NETWORK + client).to_bytes(4, "big"), "little")
    unsigned = word << 32 | _IPV4_MAPPED
    return unsigned - (1 << 64) if unsigned >> 63 else unsigned

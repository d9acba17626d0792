"""Reads bpftrace's lines into dumps: one complete reading of all counters per end mark.

The lines are what ``bpftrace -f json`` prints for a generated script, the same in bpftrace 0.17 to
0.27.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import cast

from nfszbx.errors import DumpError
from nfszbx.records import (
    ByteOrder,
    LostEvents,
    RecordReader,
    make_key_pattern,
    make_namer,
    read_count,
    read_counts,
    read_element,
)
from nfszbx.traffic import SLOTS_BY_NUMBER, Slot

_MAPS = ("@total_bytes", "@client_bytes", "@closed_bytes")
_KEY = make_key_pattern(3)


@dataclass(frozen=True)
class Dump:
    """All counters of one child at one moment; cumulative since the child began."""

    begin_ns: int
    """The kernel's clock since boot when the child began: it identifies the child."""
    end_ns: int
    """The same clock when bpftrace was told to read the maps, which it does a moment later."""
    total_bytes: Mapping[Slot, int]
    """Read a moment before ``client_bytes``. A slot without traffic is missing."""
    client_bytes: Mapping[tuple[Slot, str], int]
    """By slot and IP address in its usual form; IPv4-mapped addresses are IPv4."""
    is_last: bool = False
    """The dump of a child that is ending: counting stopped some time before ``end_ns``."""
    closed_bytes: Mapping[tuple[Slot, str], int] | None = field(default_factory=dict)
    """What the kernel had counted on connections that have closed, like ``client_bytes``; of
    services that share ports, the first has it. Read last.

    None when it could not be understood: that is no reason to refuse what was counted.
    """


class DumpReader:
    """Takes the lines of a stream one by one and gives out the dumps that are complete."""

    def __init__(self, byte_order: ByteOrder) -> None:
        self._records = RecordReader(dict.fromkeys(_MAPS, (dict,)))
        self._name = make_namer(byte_order)
        self._names: dict[str, dict[str, tuple[Slot, str]]] = {}
        """By map and key, those of the last dump: the next one has them, too."""

    @property
    def begin_ns(self) -> int | None:
        """When the child began whose lines come now."""
        return self._records.begin_ns

    def read_line(self, line: str) -> Dump | LostEvents | None:
        """What the line completes: a dump, a report of losses, or nothing yet.

        Raises :class:`DumpError` as :meth:`RecordReader.read_line` does, and for content that is
        damaged.
        """
        reading = self._records.read_line(line)
        if reading is None or isinstance(reading, LostEvents):
            return reading
        maps = cast("Mapping[str, Mapping[str, object]]", reading.maps)
        return Dump(
            reading.begin_ns,
            reading.end_ns,
            {_slot(key): read_count(value) for key, value in maps.get(_MAPS[0], {}).items()},
            self._read_clients(_MAPS[1], maps.get(_MAPS[1], {})),
            is_last=reading.is_last,
            closed_bytes=self._read_closed(maps.get(_MAPS[2], {})),
        )

    def _read_clients(
        self, name: str, content: Mapping[str, object]
    ) -> dict[tuple[Slot, str], int]:
        known = self._names.get(name, {})
        names = {key: known.get(key) or self._read_client(key) for key in content}
        self._names[name] = names
        counts = read_counts(content.values())
        clients = dict(zip(names.values(), counts, strict=True))
        if len(clients) < len(names):
            # Two keys for one address are possible only for ::ffff:0:0/96 as seen by other scripts.
            clients = dict.fromkeys(clients, 0)
            for client, count in zip(names.values(), counts, strict=True):
                clients[client] += count
        return clients

    def _read_closed(self, content: Mapping[str, object]) -> dict[tuple[Slot, str], int] | None:
        try:
            return self._read_clients(_MAPS[2], content)
        except DumpError:
            return None

    def _read_client(self, key: str) -> tuple[Slot, str]:
        match = _KEY.fullmatch(key)
        if match is None:
            raise DumpError(f"not the key of a client: {key!r:.100}")
        slot, high, low = match.groups()
        return _slot(slot), self._name(read_element(high), read_element(low))


@lru_cache(maxsize=len(SLOTS_BY_NUMBER))  # each stands in the key of every client
def _slot(text: str) -> Slot:
    slot = SLOTS_BY_NUMBER.get(int(text)) if re.fullmatch("[0-9]{1,3}", text) else None
    if slot is None:
        raise DumpError(f"not the number of a slot: {text!r:.100}")
    return slot

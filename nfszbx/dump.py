"""Reads bpftrace's lines into dumps: one complete reading of all counters per end mark.

The lines are what ``bpftrace -f json`` prints for a generated script, the same in bpftrace 0.17 to
0.27. They tell by themselves where a child begins, so a recorded stream reads like a live one.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from struct import Struct
from typing import Literal

from nfszbx.errors import DumpError, LineError
from nfszbx.traffic import SLOTS_BY_NUMBER, Slot, name_client

_MARK = re.compile(r"nfszbx (begin|end|last) ([0-9]{1,20})\n?")
_KEY = re.compile(r"([0-9]{1,3}), ?(-?[0-9]{1,20}), ?(-?[0-9]{1,20})")
_LIMIT = 1 << 64
_MAPS = ("@total_bytes", "@client_bytes", "@closed_bytes")


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


@dataclass(frozen=True)
class LostEvents:
    """bpftrace could not deliver that many records; the dump they belong to is refused."""

    count: int


class DumpReader:
    """Takes the lines of a stream one by one and gives out the dumps that are complete."""

    def __init__(self, byte_order: Literal["little", "big"]) -> None:
        # An address is two 64-bit halves that were read from memory in the machine's order.
        self._address = Struct("<QQ" if byte_order == "little" else ">QQ")
        self.begin_ns: int | None = None
        """When the child began whose lines come now."""
        self._spoiled = ""
        self._maps: dict[str, Mapping[str, object]] = {}
        self._names: dict[str, dict[str, tuple[Slot, str]]] = {}
        """By map and key, those of the last dump: the next one has them, too."""

    def read_line(self, line: str) -> Dump | LostEvents | None:
        """What the line completes: a dump, a report of losses, or nothing yet.

        Raises :class:`DumpError` for a line that is not one of bpftrace's, and at the end mark
        of a dump that such a line or a loss has spoiled. The next dump is read afresh.
        """
        if not line.strip():
            return None
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict) or not isinstance(record.get("type"), str):
            self._spoiled = "a line was not a record of bpftrace"
            raise LineError(f"not a record of bpftrace: {line!r:.100}")
        data = record.get("data")
        if record["type"] == "printf" and isinstance(data, str):
            return self._read_mark(data)
        if record["type"] == "map" and isinstance(data, dict):
            self._read_map(data)
        elif record["type"] == "lost_events":
            self._spoiled = "bpftrace lost records"
            return LostEvents(_read_lost(data))
        return None  # attached_probes, and whatever a later bpftrace may add

    def _read_mark(self, text: str) -> Dump | None:
        match = _MARK.fullmatch(text)
        if match is None:
            self._spoiled = "a mark was damaged"
            raise LineError(f"not a mark: {text!r:.100}")
        maps, spoiled, self._maps, self._spoiled = self._maps, self._spoiled, {}, ""
        if match[1] == "begin":
            self.begin_ns = int(match[2])
            return None
        if self.begin_ns is None:
            raise DumpError("a dump without the begin mark of its child")
        if spoiled:
            raise DumpError(f"incomplete dump: {spoiled}")
        if int(match[2]) < self.begin_ns:
            raise DumpError(f"a dump that ends before its child began: {text!r}")
        return Dump(
            self.begin_ns,
            int(match[2]),
            {_slot(key): _count(value) for key, value in maps.get(_MAPS[0], {}).items()},
            self._read_clients(_MAPS[1], maps.get(_MAPS[1], {})),
            is_last=match[1] == "last",
            closed_bytes=self._read_closed(maps.get(_MAPS[2], {})),
        )

    def _read_map(self, data: Mapping[str, object]) -> None:
        for name, content in data.items():
            if name not in _MAPS:
                continue
            if not isinstance(content, dict):
                self._spoiled = f"{name} is not a table"
                raise LineError(f"{name} is not a table: {content!r:.100}")
            if name == _MAPS[0]:
                # A dump begins with its totals. Maps that are still here have lost their end mark.
                self._maps.clear()
            self._maps[name] = content

    def _read_clients(
        self, name: str, content: Mapping[str, object]
    ) -> dict[tuple[Slot, str], int]:
        names: dict[str, tuple[Slot, str]] = {}
        known, self._names[name] = self._names.get(name, {}), names
        clients: dict[tuple[Slot, str], int] = {}
        for key, value in content.items():
            client = names[key] = known.get(key) or self._read_client(key)
            # Two keys for one address are possible only for ::ffff:0:0/96 as seen by other scripts.
            clients[client] = clients.get(client, 0) + _count(value)
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
        slot, first, second = match.groups()
        address = self._address.pack(int(first) % _LIMIT, int(second) % _LIMIT)
        return _slot(slot), name_client(address)


@lru_cache(maxsize=len(SLOTS_BY_NUMBER))  # each stands in the key of every client
def _slot(text: str) -> Slot:
    slot = SLOTS_BY_NUMBER.get(int(text)) if re.fullmatch("[0-9]{1,3}", text) else None
    if slot is None:
        raise DumpError(f"not the number of a slot: {text!r:.100}")
    return slot


def _count(value: object) -> int:
    """A count of bytes. bpftrace 0.24 and later prints integers above 2^53 as strings."""
    if isinstance(value, str) and re.fullmatch("[0-9]{1,20}", value):
        value = int(value)
    if type(value) is not int or not 0 <= value < _LIMIT:  # a bool is no count
        raise DumpError(f"not a count of bytes: {value!r:.100}")
    return value


def _read_lost(data: object) -> int:
    """``{"events": N}``; a report whose number cannot be read stands for one loss."""
    count = data.get("events") if isinstance(data, dict) else None
    return count if isinstance(count, int) and not isinstance(count, bool) and count > 0 else 1

"""Reads the records that ``bpftrace -f json`` prints: maps, marks and reports of losses.

The same for every generated script: maps, each in one record, then an end mark that makes a
reading of them. The lines tell by themselves where a child begins, so a recorded stream reads like
a live one.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from struct import Struct
from typing import Literal, NamedTuple, cast

from nfszbx.errors import DumpError, LineError
from nfszbx.traffic import name_client

ByteOrder = Literal["little", "big"]

_MARK = re.compile(r"nfszbx (begin|end|last) ([0-9]{1,20})\n?")
_LIMIT = 1 << 64


@dataclass(frozen=True)
class LostEvents:
    """bpftrace could not deliver that many records; the dump they belong to is refused."""

    count: int


class Reading(NamedTuple):
    """All maps of one child at one moment, as they were printed."""

    begin_ns: int
    end_ns: int
    maps: Mapping[str, object]
    """By name; each is of the type that the reader was told. One without entries is missing."""
    is_last: bool


class RecordReader:
    """Takes the lines of a stream one by one and gives out the readings that are complete."""

    def __init__(self, maps: Mapping[str, tuple[type, ...]]) -> None:
        """``maps`` has the types that each may have; the first begins every reading."""
        self.begin_ns: int | None = None
        """When the child began whose lines come now."""
        self._types = maps
        self._first = next(iter(maps))
        self._spoiled = ""
        self._maps: dict[str, object] = {}

    def read_line(self, line: str) -> Reading | LostEvents | None:
        """What the line completes: a reading, a report of losses, or nothing yet.

        Raises :class:`DumpError` for a line that is not one of bpftrace's, and at the end mark
        of a reading that such a line or a loss has spoiled. The next one is read afresh.
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
        if record["type"] in ("map", "hist", "stats") and isinstance(data, dict):
            self._read_map(data)
        elif record["type"] == "lost_events":
            self._spoiled = "bpftrace lost records"
            return LostEvents(_read_lost(data))
        return None  # attached_probes, and whatever a later bpftrace may add

    def _read_mark(self, text: str) -> Reading | None:
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
        return Reading(self.begin_ns, int(match[2]), maps, match[1] == "last")

    def _read_map(self, data: Mapping[str, object]) -> None:
        for name, content in data.items():
            types = self._types.get(name)
            if types is None:
                continue
            if not isinstance(content, types):
                self._spoiled = f"{name} is not a {types[0].__name__}"
                raise LineError(f"{self._spoiled}: {content!r:.100}")
            if name == self._first:
                # A reading begins with it. Maps that are still here have lost their end mark.
                self._maps.clear()
            self._maps[name] = content


def read_count(value: object) -> int:
    """A count. bpftrace 0.24 and later prints integers above 2^53 as strings."""
    if isinstance(value, str) and re.fullmatch("[0-9]{1,20}", value):
        value = int(value)
    if type(value) is not int or not 0 <= value < _LIMIT:  # a bool is no count
        raise DumpError(f"not a count: {value!r:.100}")
    return value


def read_counts(values: Collection[object]) -> Collection[int]:
    """The counts, as :func:`read_count` reads each; where all are plain integers, all at once."""
    if set(map(type, values)) <= {int}:
        counts = cast("Collection[int]", values)
        if min(counts, default=0) >= 0 and max(counts, default=0) < _LIMIT:
            return counts
    return [read_count(value) for value in values]


def make_key_pattern(elements: int, optional: int = 0) -> re.Pattern[str]:
    """Matches a key of so many integers of 64 bits, which bpftrace prints signed or unsigned.

    Those that are optional follow all together, or not at all.
    """
    element = "(-?[0-9]{1,20})"
    rest = f"(?:{f', ?{element}' * optional})?" if optional else ""
    return re.compile(", ?".join([element] * elements) + rest)


def read_element(text: str) -> int:
    """An element of a key, unsigned."""
    return int(text) % _LIMIT


def make_namer(byte_order: ByteOrder) -> Callable[[int, int], str]:
    """Names a client by the two halves of its address, which memory has in the machine's order."""
    pack = Struct("<QQ" if byte_order == "little" else ">QQ").pack
    return lambda high, low: name_client(pack(high, low))


def _read_lost(data: object) -> int:
    """``{"events": N}``; a report whose number cannot be read stands for one loss."""
    count = data.get("events") if isinstance(data, dict) else None
    return count if isinstance(count, int) and not isinstance(count, bool) and count > 0 else 1

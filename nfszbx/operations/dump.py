"""Reads bpftrace's lines into dumps of NFS operations: one complete reading per end mark.

The script's maps and their keys are described where they are written, in ``script.py``; here they
become numbers that say what they are. What has a name is named later: only what has changed is.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple, TypeVar

from nfszbx.errors import DumpError
from nfszbx.operations.names import (
    COMPOUND_VERSION,
    DATA_OPERATIONS,
    PROCEDURES,
    expand_shape,
    name_operation,
)
from nfszbx.records import (
    ByteOrder,
    LostEvents,
    RecordReader,
    make_key_pattern,
    make_namer,
    read_count,
    read_element,
)

_MAPS: Mapping[str, tuple[type, ...]] = {
    "@requests": (dict,),
    "@moved": (dict,),
    "@times": (dict,),
    "@waits": (dict,),
}
# The last parts are there when requests are told apart by them.
_REQUEST_KEY = make_key_pattern(6, 1)
_MOVED_KEY = make_key_pattern(5, 1)
_TIME_KEY = make_key_pattern(2, 2)
_WAIT_KEY = make_key_pattern(1)
_BITS = (1 << 48) - 1
_SIGN = 1 << 63
# A negative time is none: clocks that are read one after the other may disagree by a little.
_BUCKETS = {(1 << n) - 1: n for n in range(48)} | {_BITS: 0}
"""The highest value that fits into a bucket, and the bucket's number."""

Buckets = Mapping[int, int]
"""Requests by the power of two of microseconds that they took less than: 3 is for 4 to 7."""


class Kind(IntEnum):
    """What became of a request; the numbers are the script's."""

    EXECUTED = 0
    CACHED = 1
    """Answered from the cache of replies."""
    DROPPED = 2
    UNDECODABLE = 3
    ACL = 4
    """Executed, and of NFSACL."""


_KINDS = {kind.value: kind for kind in Kind}


class Request(NamedTuple):
    """A kind of request: all with the same parts are counted together."""

    version: int
    minor: int
    """Of version 4; 0 where it is not known."""
    chunk: int
    """From 0: which part of a COMPOUND of more than eight operations."""
    kind: Kind
    status: int
    """Of the last operation; 0 in all parts but the last."""
    shape: int
    """The number of the procedure, or the operations of a COMPOUND: see ``expand_shape``."""


class Origin(NamedTuple):
    """Where a request came from and where it went. What is not told apart is 0."""

    client: str
    """IP address in its usual form."""
    mount: int
    inode: int
    """0 for the root of the mount. With ``mount`` 0 as well: no export."""
    user: int
    """UID."""


class DataOperation(NamedTuple):
    """An operation that moves data."""

    version: int
    minor: int
    number: int
    """Of the operation in version 4, of the procedure in the others."""


class Call(NamedTuple):
    """What requests are timed by."""

    version: int
    minor: int
    shape: int
    """As in :class:`Request`, of the first part."""


@dataclass(frozen=True)
class OperationsDump:
    """All counters of one child at one moment; cumulative since the child began."""

    begin_ns: int
    """The kernel's clock since boot when the child began: it identifies the child."""
    end_ns: int
    """The same clock when bpftrace was told to read the maps, which it does a moment later."""
    requests: Mapping[tuple[Request, Origin], int] = field(default_factory=dict)
    """Read before all others, so what is told of a request may be ahead of its count."""
    moved_bytes: Mapping[tuple[DataOperation, Origin], int] = field(default_factory=dict)
    latency: Mapping[tuple[Call, str], Buckets] = field(default_factory=dict)
    """By client; that is ``::`` where times are not told by client."""
    spent_ns: Mapping[tuple[Call, str], int] = field(default_factory=dict)
    """Sums of the same times."""
    waits: Buckets = field(default_factory=dict)
    """Of requests for a thread; empty where the kernel does not tell."""
    waited_ns: int = 0
    map_entries: int = 0
    """Of the fullest of the kernel's maps."""
    is_last: bool = False
    """The dump of a child that is ending: counting stopped some time before ``end_ns``."""


_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class OperationsDumpReader:
    """Takes the lines of a stream one by one and gives out the dumps that are complete."""

    def __init__(self, byte_order: ByteOrder, entries_of_time: int = 1) -> None:
        """``entries_of_time``: of the kernel's map, for each bucket of a time."""
        self._records = RecordReader(_MAPS)
        self._byte_order = byte_order
        self._entries_of_time = entries_of_time
        self._name = make_namer(byte_order)
        self._requests: dict[str, tuple[Request, Origin]] = {}
        """By key, those of the last dump: the next one has them, too."""
        self._moved: dict[str, tuple[DataOperation, Origin]] = {}
        self._times: dict[str, tuple[tuple[Call, str], int]] = {}
        self._waits: dict[str, tuple[None, int]] = {}

    def read_line(self, line: str) -> OperationsDump | LostEvents | None:
        """What the line completes: a dump, a report of losses, or nothing yet.

        Raises :class:`DumpError` as :meth:`RecordReader.read_line` does, and for content that is
        damaged.
        """
        reading = self._records.read_line(line)
        if reading is None or isinstance(reading, LostEvents):
            return reading
        maps = reading.maps
        requests, self._requests = _read_table(
            maps.get("@requests"), self._requests, self._read_request, read_count
        )
        moved_bytes, self._moved = _read_table(
            maps.get("@moved"), self._moved, self._read_moved, read_count
        )
        times, self._times = _read_table(
            maps.get("@times"), self._times, self._read_time, _read_times
        )
        latency, spent_ns = _add_up(times)
        waits, self._waits = _read_table(maps.get("@waits"), self._waits, _read_wait, _read_times)
        waited, waited_ns = _add_up(waits)
        return OperationsDump(
            reading.begin_ns,
            reading.end_ns,
            requests,
            moved_bytes,
            latency,
            spent_ns,
            waited.get(None, {}),
            waited_ns.get(None, 0),
            max(len(requests), len(moved_bytes), self._entries_of_time * len(times)),
            reading.is_last,
        )

    def _read_request(self, key: str) -> tuple[Request, Origin]:
        word, shape, *origin = _split_key(_REQUEST_KEY, key, "a request")
        version, minor = _read_version(word)
        status = (word & 0xFFFFFFFF).to_bytes(4, self._byte_order)  # in the network's order
        kind = _KINDS.get(word >> 32 & 0xFF)
        if kind is None or (kind is Kind.ACL and version == COMPOUND_VERSION):
            raise DumpError(f"not a kind of request: {key!r:.100}")
        request = Request(
            version, minor, word >> 40 & 0xFF, kind, int.from_bytes(status, "big"), shape
        )
        if version == COMPOUND_VERSION and kind is Kind.EXECUTED:
            _check_shape(shape)
        return request, self._make_origin(*origin)

    def _read_moved(self, key: str) -> tuple[DataOperation, Origin]:
        word, *origin = _split_key(_MOVED_KEY, key, "an operation with data")
        operation = DataOperation(*_read_version(word), word & (1 << 48) - 1)
        if name_operation(operation.version, operation.number) not in DATA_OPERATIONS:
            raise DumpError(f"not an operation with data: {key!r:.100}")
        return operation, self._make_origin(*origin)

    def _read_time(self, key: str) -> tuple[tuple[Call, str], int]:
        word, shape, high, low = _split_key(_TIME_KEY, key, "a time")
        call = Call(*_read_version(word), shape)
        if call.version == COMPOUND_VERSION:
            _check_shape(shape)
        return (call, self._name(high, low)), word & _BITS

    def _make_origin(self, high: int, low: int, mount: int, inode: int, user: int) -> Origin:
        return Origin(self._name(high, low), mount, inode, user)


def _split_key(pattern: re.Pattern[str], key: str, what: str) -> list[int]:
    match = pattern.fullmatch(key)
    if match is None:
        raise DumpError(f"not the key of {what}: {key!r:.100}")
    return [read_element(part or "0") for part in match.groups()]


def _read_wait(key: str) -> tuple[None, int]:
    (bits,) = _split_key(_WAIT_KEY, key, "a wait")
    return None, bits


def _read_times(value: object) -> tuple[int, int]:
    """Number and sum of ``stats()``; what is negative may be printed so, or as unsigned."""
    if not isinstance(value, dict):
        raise DumpError(f"not times: {value!r:.100}")
    total = value.get("total")
    if type(total) not in (int, str) or not re.fullmatch("-?[0-9]{1,20}", str(total)):
        raise DumpError(f"not a sum: {total!r:.100}")
    return read_count(value.get("count")), read_element(str(total))


def _add_up(
    times: Mapping[tuple[_Key, int], tuple[int, int]],
) -> tuple[dict[_Key, Buckets], dict[_Key, int]]:
    """The buckets of each, and its sum."""
    latency: dict[_Key, dict[int, int]] = {}
    spent_ns: dict[_Key, int] = {}
    for (key, bits), (count, total) in times.items():
        bucket = _BUCKETS.get(bits)
        if bucket is None or (bits < _BITS and total >= _SIGN):
            raise DumpError(f"not times: {total} ns in a bucket up to {bits} us")
        buckets = latency.setdefault(key, {})
        buckets[bucket] = buckets.get(bucket, 0) + count
        spent_ns[key] = spent_ns.get(key, 0) + (total if bits < _BITS else 0)
    return {**latency}, spent_ns


def _read_table(
    content: object,
    known: Mapping[str, _Key],
    read_key: Callable[[str], _Key],
    read_value: Callable[[object], _Value],
) -> tuple[dict[_Key, _Value], dict[str, _Key]]:
    """The entries of a map, and its keys by how they were printed."""
    table: dict[_Key, _Value] = {}
    keys: dict[str, _Key] = {}
    for text, value in content.items() if isinstance(content, dict) else ():
        key = keys[text] = known.get(text) or read_key(text)
        table[key] = read_value(value)
    if len(table) < len(keys):
        raise DumpError("a map has two entries with one key")
    return table, keys


def _read_version(word: int) -> tuple[int, int]:
    version = word >> 56
    if version not in PROCEDURES:
        raise DumpError(f"not a version of NFS: {version}")
    return version, word >> 48 & 0xFF


def _check_shape(shape: int) -> None:
    try:
        expand_shape(shape)
    except ValueError as error:
        raise DumpError(str(error)) from None

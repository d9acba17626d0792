"""What passes between the process that measures and the one that has the sinks.

Frames: one byte for the kind, four for the length, the body. Downwards come the settings and the
intervals; upwards only reports, which are taken for what an enemy may have written.
"""

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from enum import Enum
from typing import Annotated, Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nfszbx import catalog
from nfszbx.health import SinkHealth
from nfszbx.samples import Sample, Samples

MAX_REPORT_BYTES = 1_000_000
_HEADER = struct.Struct("<cI")
_NUMBERS = {metric.name: number for number, metric in enumerate(catalog.METRICS)}


class Kind(Enum):
    """Of a frame."""

    BEGIN = b"B"
    """The settings."""
    INTERVAL = b"I"
    LEVEL = b"V"
    """Another log_level."""
    LOG = b"L"
    """A line for standard error: a live table has the terminal."""
    STOP = b"S"
    """Deliver what is queued, and end."""
    READY = b"R"
    ERROR = b"E"
    """It cannot begin."""
    REPORT = b"H"


class MessageError(Exception):
    """What the other side has sent is no message."""


class Frame(NamedTuple):
    """One message."""

    kind: Kind
    body: bytes


def pack(kind: Kind, body: bytes = b"") -> bytes:
    """A frame as it goes over the line."""
    return _HEADER.pack(kind.value, len(body)) + body


class Unpacker:
    """Makes frames of what comes, in whatever pieces."""

    def __init__(self, max_bytes: int | None = None) -> None:
        """``max_bytes`` is the longest body that is taken."""
        self._max_bytes = max_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete now. Raises :class:`MessageError`."""
        self._buffer += data
        while len(self._buffer) >= _HEADER.size:
            code, length = _HEADER.unpack_from(self._buffer)
            try:
                kind = Kind(code)
            except ValueError:
                raise MessageError(f"a message of the unknown kind {code!r}") from None
            if self._max_bytes is not None and length > self._max_bytes:
                raise MessageError(f"a message of {length} bytes")
            end = _HEADER.size + length
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_HEADER.size : end])
            del self._buffer[:end]
            yield Frame(kind, body)


def encode_samples(number: int, samples: Samples) -> bytes:
    """An interval; ``number`` counts those of the run, from 1."""
    return json.dumps(
        {
            "number": number,
            "unix_seconds": samples.unix_seconds,
            "complete": samples.complete,
            "seconds": samples.seconds,
            "timed": samples.timed,
            "is_last": samples.is_last,
            "samples": [(_NUMBERS[s.metric.name], s.labels, s.value) for s in samples.samples],
            "client_bytes": [
                (_NUMBERS[metric.name], labels, count)
                for (metric, labels), count in samples.client_bytes.items()
            ],
        },
        separators=(",", ":"),
    ).encode()


def decode_samples(body: bytes) -> Samples:
    """The same; from root, so that it is what it should be."""
    fields: dict[str, Any] = json.loads(body)
    fields["samples"] = tuple(
        Sample(catalog.METRICS[metric], tuple(labels), value)
        for metric, labels, value in fields["samples"]
    )
    fields["client_bytes"] = {
        (catalog.METRICS[metric], tuple(labels)): count
        for metric, labels, count in fields["client_bytes"]
    }
    return Samples(**fields)


class Begin(BaseModel):
    """What the process with the sinks is told first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    config: dict[str, Any]
    """Of :class:`Config`, without what only the other process needs."""
    folder: str
    """Where it may keep files."""
    user: tuple[str, int, int] | None
    """Name, user and group to become; None where there is nothing to give up."""
    handed_on: Mapping[str, int]
    """By sink: the last interval that it has had of an earlier process."""
    waiting: Mapping[int, float]
    """The intervals that come first, with the Unix time at which they ended."""


_Count = Annotated[int, Field(strict=True, ge=0, le=2**53)]
_Words = Annotated[str, Field(strict=True, max_length=10_000)]
_Flag = Annotated[bool, Field(strict=True)]
_SinkName = Annotated[str, Field(strict=True, max_length=10_000, pattern=r"^[ -~]+$")]


class _Upwards(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Refusal(_Upwards):
    """Why the sinks cannot be opened: an error of ours, in parts."""

    exit_code: _Count
    message: _Words
    hint: _Words = ""


class Tally(_Upwards):
    """Of one sink: the fields of :class:`SinkHealth`."""

    name: _SinkName
    queue_length: _Count
    delivered: _Count
    dropped: _Count
    errors: _Count
    state: Annotated[int, Field(strict=True, ge=0, le=4)]

    def as_health(self) -> SinkHealth:
        """The same."""
        return SinkHealth(**self.model_dump())

    @classmethod
    def of(cls, health: SinkHealth) -> Self:
        """The same."""
        return cls.model_validate({**asdict(health), "state": int(health.state)})


class Report(_Upwards):
    """How the sinks do; at every change, and once a second as a sign of life."""

    sinks: Annotated[tuple[Tally, ...], Field(max_length=1000)] = ()
    handed_on: dict[_SinkName, _Count] = {}
    """By sink: the last interval that it has taken, given up, or put on disk."""
    done: _Count = 0
    """The last interval that no sink would miss if all began anew now."""
    on_disk: _Flag = True
    gone: _Flag = False


def parse_report(body: bytes) -> Report:
    """Raises :class:`MessageError`."""
    try:
        return Report.model_validate_json(body)
    except ValidationError as error:
        raise MessageError(f"a report that is none: {error.errors()[0]['msg']:.200}") from None


def parse_refusal(body: bytes) -> Refusal:
    """Raises :class:`MessageError`."""
    try:
        return Refusal.model_validate_json(body)
    except ValidationError as error:
        raise MessageError(f"an error that is none: {error.errors()[0]['msg']:.200}") from None

"""What passes between the process that measures and the one that has the sinks.

Frames: one byte for the kind, four for the length, the body. Downwards come the settings and the
intervals, upwards only what ``reports.py`` checks.
"""

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple, Self, cast

from nfszbx import catalog
from nfszbx.metric import Metric
from nfszbx.privileges import Account
from nfszbx.samples import Sample, Samples

if TYPE_CHECKING:
    from nfszbx.config import Config

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
    """An interval; ``number`` counts those of the run, from 1.

    In columns, with each set of labels once: there may be 100,000 clients.
    """
    known: dict[tuple[str, ...], int] = {}
    return json.dumps(
        {
            "number": number,
            "unix_seconds": samples.unix_seconds,
            "complete": samples.complete,
            "seconds": samples.seconds,
            "timed": samples.timed,
            "is_last": samples.is_last,
            "samples": _encode_columns(samples.samples, known),
            "operations": (
                None if samples.operations is None else _encode_columns(samples.operations, known)
            ),
            "client_bytes": [
                (_NUMBERS[metric.name], flow, list(clients), list(clients.values()))
                for (metric, flow), clients in samples.client_bytes.items()
            ],
            "labels": list(known),
        },
        separators=(",", ":"),
    ).encode()


def _encode_columns(
    samples: Sequence[Sample], known: dict[tuple[str, ...], int]
) -> tuple[list[int], list[int], list[float]]:
    return (
        [_NUMBERS[sample.metric.name] for sample in samples],
        [known.setdefault(sample.labels, len(known)) for sample in samples],
        [sample.value for sample in samples],
    )


def decode_samples(body: bytes) -> Samples:
    """The same; from root, so that it is what it should be."""
    fields: dict[str, Any] = json.loads(body)
    known = [tuple(labels) for labels in fields.pop("labels")]

    def name(metrics: list[int], labels: list[int]) -> Iterator[tuple[Metric, tuple[str, ...]]]:
        return zip(
            map(catalog.METRICS.__getitem__, metrics), map(known.__getitem__, labels), strict=True
        )

    for part in ("samples", "operations"):
        if fields[part] is not None:
            metrics, labels, values = fields[part]
            named = zip(name(metrics, labels), values, strict=True)
            fields[part] = tuple(Sample(metric, row, value) for (metric, row), value in named)
    fields["client_bytes"] = {
        (catalog.METRICS[metric], tuple(flow)): dict(zip(clients, counts, strict=True))
        for metric, flow, clients, counts in fields["client_bytes"]
    }
    return Samples(**fields)


@dataclass(frozen=True)
class Begin:
    """What the process with the sinks is told first."""

    config: str
    """:class:`Config` in JSON, without what only the other process needs."""
    folder: str
    """Where it may keep files."""
    user: Account | None
    """Whom to become; None where there is nothing to give up."""
    handed_on: Mapping[str, int]
    """By sink: the last interval that it has had of an earlier process."""
    done: int
    """The last interval of which nothing can be missing."""
    waiting: Mapping[int, float]
    """The intervals that come first, with the Unix time at which they ended."""

    def encode(self) -> bytes:
        """As the body of a frame."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """The same; from root."""
        fields: dict[str, Any] = json.loads(body)
        user, waiting = fields["user"], fields["waiting"]
        fields["user"] = Account(**user) if user else None
        fields["waiting"] = {int(number): end for number, end in waiting.items()}
        return cls(**fields)

    def read_config(self) -> "Config":
        """The settings by their names, of which root has checked each.

        Not the class that checks them: with what it needs, it takes 20 MB.
        """
        names: object = json.loads(self.config, object_hook=lambda table: SimpleNamespace(**table))
        return cast("Config", names)

"""What a sink is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from nfszbx.health import SinkHealth
from nfszbx.samples import Samples


class Sink(Protocol):
    """Takes samples somewhere. Runs in a thread of its own (``worker.py``), so it may be slow."""

    name: str
    """As on the command line."""

    def deliver(self, samples: Samples) -> None:
        """Take the samples of one interval.

        Raises :class:`SinkUnavailableError` to be given the same samples again later, and
        :class:`SinkRefusedError` when that would not help, :class:`SinkGoneError` when nothing ever
        will.
        """

    def close(self) -> None:
        """Free what the sink holds; the last call."""


@dataclass(frozen=True)
class Again:
    """What a sink has of intervals that come again, after an end of the process that had it."""

    handed_on: int = 0
    """The number of the last one that it has handed on, or put on disk."""
    done: int = 0
    """The number of the last one of which nothing can be missing."""
    waiting: Mapping[int, float] = field(default_factory=dict)
    """Those that come first, by number, with the Unix time at which they ended."""


class Worker(Protocol):
    """A sink at work, in threads of its own."""

    @property
    def is_gone(self) -> bool:
        """The sink has been given up; what is put here now is dropped."""

    @property
    def is_on_disk(self) -> bool:
        """False while what it should have on disk cannot be written there."""

    @property
    def handed_on(self) -> int:
        """The number of the last interval that was taken, given up, or put on disk."""

    @property
    def done(self) -> int:
        """The number of the last interval that it would not miss if it began anew now."""

    def put(self, samples: Samples) -> None:
        """Queue the samples; never waits."""

    def healths(self) -> Sequence[SinkHealth]:
        """The tallies of all to whom it delivers."""

    def stop(self, timeout_seconds: float) -> None:
        """The last call: deliver what is queued, for so long."""

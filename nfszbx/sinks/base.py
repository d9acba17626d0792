"""What a sink is."""

from typing import Protocol

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

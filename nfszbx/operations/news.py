"""What is told of NFS operations, until it is taken."""

from nfszbx import catalog_operations as catalog
from nfszbx.metric import Kind
from nfszbx.samples import Sample

_OF_TIMED = {catalog.OPERATION_RATE, catalog.BUSY_THREADS}
"""Of which one is there when the length of an interval is known."""


class News:
    """The newest of everything: it is taken at the pace of traffic, and dumps are no more often."""

    def __init__(self) -> None:
        self._waiting: tuple[Sample, ...] | None = None

    def put(self, samples: tuple[Sample, ...]) -> None:
        """All there is to say now; an empty tuple: nothing more.

        Without rates of their own, those that wait are kept: nobody else tells of their interval.
        """
        if samples and self._waiting and not any(each.metric in _OF_TIMED for each in samples):
            samples += tuple(each for each in self._waiting if _is_of_interval(each))
        self._waiting = samples

    def take(self) -> tuple[Sample, ...] | None:
        """None when there is nothing new."""
        waiting, self._waiting = self._waiting, None
        return waiting


def _is_of_interval(sample: Sample) -> bool:
    return sample.metric.kind is Kind.RATE or sample.metric in _OF_TIMED

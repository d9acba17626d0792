"""What a metric is; ``catalog.py`` has them all."""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

NAMESPACE = "nfszbx_"
SUM = "sum"
"""Stands for the sum where a histogram has the upper bound of a bucket."""


class Kind(StrEnum):
    """How a metric behaves."""

    COUNTER = "counter"
    """Only grows while nfszbx runs; starts at zero."""
    GAUGE = "gauge"
    """Goes up and down."""
    RATE = "rate"
    """A gauge derived from others, over the last interval; for sinks that do not derive it."""
    HISTOGRAM = "histogram"
    """Counters of what was at most ``le``, the last label; under the ``le`` ``sum``, their sum."""


class Unit(StrEnum):
    """What a value counts; the values are Zabbix' names of units."""

    NONE = ""
    BYTES = "B"
    BYTES_PER_SECOND = "Bps"
    SECONDS = "s"
    UNIX_TIME = "unixtime"


@dataclass(frozen=True, eq=False)
class Metric:
    """One metric; its samples have a value for each combination of labels. Equal to itself only."""

    name: str
    kind: Kind
    title: str
    """A few words for people, where the labels are shown beside it."""
    help: str
    labels: tuple[str, ...] = ()
    unit: Unit = Unit.NONE

    @cached_property
    def field(self) -> str:
        """The name inside a document, where the place already says whose metric it is."""
        plain = self.name.removeprefix(NAMESPACE)
        return plain.removeprefix("client_").removeprefix("nfs_")

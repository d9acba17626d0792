"""The states of one sink, what can happen to it, and the one table of what follows.

A sink is whoever takes values: the console, the Prometheus endpoint, a Zabbix server.
docs/reliability.md shows the table.
"""

from collections.abc import Mapping
from enum import IntEnum, StrEnum


class SinkState(IntEnum):
    """How a sink is doing; the numbers are those of the metric, 0 when all is well."""

    DELIVERING = 0
    STARTING = 1
    """Nothing was sent yet."""
    REFUSING = 2
    """It answers, and does not take everything."""
    BACKING_OFF = 3
    """It does not answer; values wait, and it is tried again at growing intervals."""
    GONE = 4
    """Nobody will ever read there again: given up."""


class SinkEvent(StrEnum):
    """What becomes of a delivery."""

    TAKEN = "taken"
    REFUSED = "refused"
    """By an answer, or by a fault of nfszbx itself."""
    UNAVAILABLE = "unavailable"
    GONE = "gone"


_LEADS_TO = {
    SinkEvent.TAKEN: SinkState.DELIVERING,
    SinkEvent.REFUSED: SinkState.REFUSING,
    SinkEvent.UNAVAILABLE: SinkState.BACKING_OFF,
    SinkEvent.GONE: SinkState.GONE,
}
TRANSITIONS: Mapping[tuple[SinkState, SinkEvent], SinkState] = {
    (state, event): following
    for state in SinkState
    if state is not SinkState.GONE  # for good
    for event, following in _LEADS_TO.items()
}

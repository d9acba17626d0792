"""The states of one bpftrace, what can happen to it, and the one table of what follows.

The supervisor follows the table and nothing else; docs/reliability.md shows it.
"""

from collections.abc import Mapping
from enum import IntEnum, StrEnum


class ChildState(IntEnum):
    """Where a child is in its life; the numbers are those of the metric, 0 when all is well."""

    DELIVERING = 0
    """It has delivered a dump."""
    STARTING = 1
    """It runs; its first dump is awaited."""
    STOPPING = 2
    """It was asked to end; its last dump is awaited."""
    WAITING = 3
    """There is none: the next one starts as soon as the back-off allows."""


class ChildEvent(StrEnum):
    """What happens to a child that is in order."""

    STARTED = "started"
    DUMP = "dump"
    STOP = "stop"
    """It is asked to end."""
    STOPPED = "stopped"
    """It is gone, as it was asked to be."""


class EndReason(StrEnum):
    """Why a child ended that nobody had asked to end."""

    EXITED = "exited"
    KILLED = "killed"
    SILENT = "silent"
    """No dump for too long, after there had been one; nfszbx has killed it."""
    FLOODING = "flooding"
    """More output than any dump has; nfszbx has killed it."""
    START_TIMEOUT = "start_timeout"
    NOT_STARTED = "not_started"


TRANSITIONS: Mapping[tuple[ChildState, ChildEvent | EndReason], ChildState] = {
    (ChildState.WAITING, ChildEvent.STARTED): ChildState.STARTING,
    (ChildState.WAITING, EndReason.NOT_STARTED): ChildState.WAITING,
    (ChildState.STARTING, ChildEvent.DUMP): ChildState.DELIVERING,
    (ChildState.STARTING, ChildEvent.STOP): ChildState.STOPPING,
    (ChildState.STARTING, EndReason.EXITED): ChildState.WAITING,
    (ChildState.STARTING, EndReason.KILLED): ChildState.WAITING,
    (ChildState.STARTING, EndReason.FLOODING): ChildState.WAITING,
    (ChildState.STARTING, EndReason.START_TIMEOUT): ChildState.WAITING,
    (ChildState.DELIVERING, ChildEvent.DUMP): ChildState.DELIVERING,
    (ChildState.DELIVERING, ChildEvent.STOP): ChildState.STOPPING,
    (ChildState.DELIVERING, EndReason.EXITED): ChildState.WAITING,
    (ChildState.DELIVERING, EndReason.KILLED): ChildState.WAITING,
    (ChildState.DELIVERING, EndReason.FLOODING): ChildState.WAITING,
    (ChildState.DELIVERING, EndReason.SILENT): ChildState.WAITING,
    (ChildState.STOPPING, ChildEvent.DUMP): ChildState.STOPPING,
    (ChildState.STOPPING, ChildEvent.STOPPED): ChildState.WAITING,
}


class ChildLife:
    """One child's way through the table. Each child has one of its own."""

    def __init__(self) -> None:
        self.state = ChildState.WAITING
        self.has_delivered = False
        """A dump, since it was started."""

    def take(self, event: ChildEvent | EndReason) -> None:
        """Go where the table leads. Raises KeyError where it has no way: a fault in nfszbx."""
        self.state = TRANSITIONS[self.state, event]
        if event is ChildEvent.DUMP:
            self.has_delivered = True
        elif self.state is ChildState.WAITING:
            self.has_delivered = False

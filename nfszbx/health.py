"""What nfszbx knows about itself at one moment: the source of its self-metrics."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nfszbx.traffic import Direction, Service, Slot

if TYPE_CHECKING:  # the process with the sinks does without it, and without what it needs
    from nfszbx.plan import Plan


@dataclass(frozen=True)
class SinkHealth:
    """The tallies of one sink since the start; lengths and counts in intervals."""

    name: str
    queue_length: int
    delivered: int
    dropped: int
    errors: int
    state: int
    """The number of its state, 0 when all is well."""


@dataclass(frozen=True)
class SinksHealth:
    """All sinks, and the process that has them."""

    each: tuple[SinkHealth, ...] = ()
    restarts: int = 0
    """Ends of the process that nobody has asked for."""


@dataclass(frozen=True)
class ChildHealth:
    """bpftrace at one moment."""

    is_up: bool
    """It runs and has delivered a dump."""
    state: int
    """The number of its state, 0 when all is well."""
    is_crash_loop: bool


@dataclass(frozen=True)
class Health:
    """The tallies of the measuring side since the start."""

    plan: "Plan"
    child: ChildHealth
    restarts: Mapping[str, int]
    """Ends of the child by reason, every reason present."""
    intervals: int
    incomplete_intervals: int
    refused_dumps: int
    lost_events: int
    missed_runs: int | None
    """None where the kernel does not tell."""
    last_dump_unix_seconds: float | None
    """None before the first dump."""
    drift: Mapping[tuple[Service, Direction], float]
    """The last audit's ratios; empty before the first one."""
    audits: int
    gaps: int
    """Times in which nothing was counted, since the first dump."""
    gap_seconds: float
    """Their length, from the last dump before each to the begin of the next child."""
    recovered_bytes: Mapping[Slot, int]
    """What flowed there and was added afterwards."""
    state_kept: bool
    """What outlasts a restart can be written down."""
    sinks: SinksHealth

"""From lines to samples: the stages that need neither privilege nor a process.

A recorded stream runs through the same code as a live one. No clock is read here: the caller says
what time it is.
"""

import logging
from collections import Counter
from collections.abc import Iterable

from nfszbx.counters import Counters, Delta
from nfszbx.dump import DumpReader, LostEvents
from nfszbx.errors import DumpError
from nfszbx.health import Health, SinkHealth
from nfszbx.plan import Plan
from nfszbx.samples import Samples, make_samples

_log = logging.getLogger(__name__)


class Pipeline:
    """The state of one run."""

    def __init__(self, plan: Plan, max_clients: int, end_reasons: Iterable[str]) -> None:
        """``end_reasons`` are the reasons for restarts, each a counter from the beginning."""
        self._plan = plan
        self._reader = DumpReader(plan.byte_order)
        self._counters = Counters(max_clients)
        self._delta: Delta | None = None
        self._restarts = Counter(dict.fromkeys(end_reasons, 0))
        self._intervals = self._incomplete_intervals = 0
        self._refused_dumps = self._lost_events = 0
        self._missed_runs: int | None = None
        self._missed_runs_of_ended = 0
        self._last_dump_unix_seconds: float | None = None

    def take_line(self, text: str, unix_seconds: float) -> bool:
        """Take a line of the child's; True when it completed a dump that could be used."""
        try:
            record = self._reader.read_line(text)
            if isinstance(record, LostEvents):
                self._lost_events += record.count
                _log.warning("bpftrace lost %d records", record.count)
            if record is None or isinstance(record, LostEvents):
                return False
            delta = self._counters.advance(record)
        except DumpError as error:
            self._refused_dumps += 1
            _log.warning("refused: %s", error)
            return False
        if delta is None:
            return False
        self._delta = delta
        self._last_dump_unix_seconds = unix_seconds
        return True

    def take_end(self, reason: str) -> None:
        """A child has ended unasked."""
        self._restarts[reason] += 1
        self._missed_runs_of_ended = self._missed_runs or 0

    def take_missed_runs(self, missed_runs: int | None) -> None:
        """What the kernel says of the child's probes, since the child's start."""
        if missed_runs is not None:
            self._missed_runs = self._missed_runs_of_ended + missed_runs

    def make_samples(
        self,
        unix_seconds: float,
        *,
        measured: bool,
        child_up: bool,
        sinks: tuple[SinkHealth, ...] = (),
    ) -> Samples:
        """The samples of the interval that ends now; ``measured`` if a dump has just ended it."""
        complete = measured and self._delta is not None and self._delta.complete
        self._intervals += measured
        self._incomplete_intervals += not complete
        health = Health(
            self._plan,
            child_up,
            dict(self._restarts),
            self._intervals,
            self._incomplete_intervals,
            self._refused_dumps,
            self._lost_events,
            self._missed_runs,
            self._last_dump_unix_seconds,
            sinks,
        )
        return make_samples(self._delta, health, unix_seconds, measured=measured)

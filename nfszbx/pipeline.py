"""From lines to samples: the stages that need neither privilege nor a process.

A recorded stream runs through the same code as a live one. No clock is read here: the caller says
what time it is.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from nfszbx.accounts import Accounts
from nfszbx.connections import Sight
from nfszbx.counters import Counters, Delta, SavedCounters
from nfszbx.dump import Dump, DumpReader
from nfszbx.errors import DumpError, LineError
from nfszbx.garbage import without_collecting
from nfszbx.handover import Handover, Start
from nfszbx.health import ChildHealth, Health, SinksHealth
from nfszbx.ledger import Ledger
from nfszbx.plan import Plan
from nfszbx.records import LostEvents
from nfszbx.samples import NANOSECONDS_PER_SECOND, Samples, make_samples
from nfszbx.traffic import Direction, Service

MAX_UNCERTAINTY = 0.1
"""Rates are left out when the length of the interval is uncertain by more than this part of it."""
NEARLY_FULL = 0.9
"""Of a map: then bpftrace is to be replaced."""

_log = logging.getLogger(__name__)


class Pipeline:
    """The state of one run."""

    def __init__(
        self,
        plan: Plan,
        max_clients: int,
        client_idle_seconds: float,
        end_reasons: Iterable[str],
        saved: SavedCounters | None = None,
    ) -> None:
        """``end_reasons`` are the reasons for restarts, each a counter from the beginning.

        ``saved`` is what an earlier run has counted, if this one is to go on from there. A client
        that has been idle for longer than ``client_idle_seconds`` has no row.
        """
        self.plan = plan
        """The one in force."""
        self._reader = DumpReader(plan.byte_order)
        self._start: Start | None = None
        """Where the child began to be news that took over from one that still counted."""
        self._handover: Handover | None = None
        self._successor: DumpReader | None = None
        self._counters = Counters(max_clients, client_idle_seconds, saved)
        self._ledger = Ledger(Accounts(plan.audited))
        self._before: tuple[Sight, Sight] | None = None
        self._delta: Delta | None = None
        self.dump: Dump | None = None
        """The last one that could be used, as it came."""
        self._drift: dict[tuple[Service, Direction], float] = {}
        self._audits = 0
        self._restarts = Counter(dict.fromkeys(end_reasons, 0))
        self._intervals = self._incomplete_intervals = 0
        self._refused_dumps = self._lost_events = 0
        self._gaps, self._gap_seconds = 0, 0.0
        self._missed_runs: int | None = None
        self._missed_runs_of_ended = 0
        self._last_dump_unix_seconds: float | None = None
        self._lag_ns = 0
        self._timed = False
        self._refusing = False

    @without_collecting()
    def take_line(self, text: str, unix_seconds: float, boot_ns: int | None = None) -> bool:
        """Take a line of the child's; True when it completed a dump that could be used.

        ``unix_seconds`` and ``boot_ns`` say when it was read, on the wall clock and on the clock of
        the dumps; a recorded stream has only the former.
        """
        takes_over = self._handover is not None and self._successor is None
        try:
            record = self._read_dump(text)
            if record is None:
                return False
            ledger = self._ledger.copy()
            dump = ledger.take_dump(record, self._before, fits=self._fits(record))
            delta = self._counters.advance(dump)
        except DumpError as error:
            # A thousand lines of garbage in one dump are one refused dump.
            self._refused_dumps += not isinstance(error, LineError)
            if not self._refusing:  # one line for a row of them
                _log.warning("refused: %s", error)
            self._refusing = True
            return False
        if delta is None:
            return False
        self._refusing = False
        recovered = ledger.recovered_bytes.total() - self._ledger.recovered_bytes.total()
        self._ledger, self._before = ledger, None
        self.dump = record
        if self._handover is not None and boot_ns is not None:
            self._handover.take_old(record, boot_ns, fits=self._fits(record))
        self._take_delta(delta, record, unix_seconds, boot_ns)
        if recovered > MAX_UNCERTAINTY * sum(count.interval for count in delta.totals.values()):
            self._timed = False  # it came before, and has no rate now
        if takes_over:
            self._timed = False  # the old one had stopped counting some time before its last mark
        return True

    def _read_dump(self, text: str) -> Dump | None:
        """What the line completes, as the dump of a child that began where the last one ended."""
        record = self._reader.read_line(text)
        if isinstance(record, LostEvents):
            self._lost_events += record.count
            _log.warning("bpftrace lost %d records", record.count)
        if not isinstance(record, Dump):
            return None
        if self._handover is not None and self._successor is None:
            self._start = self._handover.finish(record)
            if self._start is None:  # it was made before the old child had been read to its end
                return None
            self._handover = None
        return self._start.apply(record) if self._start is not None else record

    def begin_handover(self) -> None:
        """Another child is started beside this one, to take over when it counts."""
        self._handover, self._successor = Handover(), DumpReader(self.plan.byte_order)

    def take_line_of_successor(self, text: str) -> bool:
        """Take a line of the other child; True when it completed a dump."""
        if self._handover is None or self._successor is None:
            raise ValueError("no handover has begun")
        try:
            record = self._successor.read_line(text)
        except DumpError as error:
            _log.warning("refused, of the bpftrace that is to take over: %s", error)
            return False
        if not isinstance(record, Dump):
            return False
        self._handover.take_new(record)
        return True

    def go_on_with_successor(self) -> None:
        """The old child has given its last dump: what comes now is the other one's."""
        if self._successor is None:
            raise ValueError("no handover has begun")
        self._reader, self._successor = self._successor, None

    def end_handover(self) -> None:
        """The other child has come to nothing."""
        self._handover = self._successor = None

    def _fits(self, dump: Dump) -> bool:
        """Had the kernel's maps room for everything?"""
        entries = max(len(dump.client_bytes), len(dump.closed_bytes or ()))
        return entries < self.plan.map_max_entries

    @property
    def begin_ns(self) -> int | None:
        """When the child began whose lines come now; None before the first."""
        return self._reader.begin_ns

    @property
    def needs_readings(self) -> bool:
        """Are the sockets to be read before the next dump: may something still be missing?"""
        begin_ns = self._start.begin_ns if self._start else self._reader.begin_ns
        is_new_child = self.dump is None or self.dump.begin_ns != begin_ns
        return is_new_child or self._ledger.needs_readings

    @property
    def lacks_after(self) -> bool:
        """Are the sockets to be read when the child has ended?"""
        return self._ledger.lacks_after

    def take_before(self, sights: tuple[Sight, Sight] | None) -> None:
        """Readings of the sockets shortly before the next dump."""
        self._before = sights or self._before

    def take_after(self, sight: Sight | None) -> None:
        """A reading of the sockets right after a dump."""
        if sight is not None:
            self._ledger.take_after(sight)

    def _take_delta(
        self, delta: Delta, dump: Dump, unix_seconds: float, boot_ns: int | None
    ) -> None:
        """Keep the delta, and find out when it ended and whether its length is known.

        Between the mark and the line that carries it, bpftrace reads the maps and both programs may
        have to wait. A constant lag does no harm; one that changes makes the length uncertain.
        """
        lag_ns = max(0, boot_ns - dump.end_ns) if boot_ns is not None else 0
        uncertain = abs(lag_ns - self._lag_ns) > MAX_UNCERTAINTY * delta.elapsed_ns
        self._timed = not uncertain and not dump.is_last
        self._lag_ns = lag_ns
        self._delta = delta
        self._gaps += not delta.complete
        self._gap_seconds += delta.gap_ns / NANOSECONDS_PER_SECOND
        self._last_dump_unix_seconds = unix_seconds - lag_ns / NANOSECONDS_PER_SECOND

    @property
    def is_map_nearly_full(self) -> bool:
        """Will new clients soon have no place in the kernel's map?"""
        entries = self._delta.map_entries if self._delta else 0
        return entries >= NEARLY_FULL * self.plan.map_max_entries

    def change_plan(self, plan: Plan) -> None:
        """Go on with another plan of the same machine."""
        if plan.audited != self.plan.audited:
            self._ledger.change_accounts(Accounts(plan.audited))
            self._before = None
        self.plan = plan

    def change_rows(self, max_clients: int, client_idle_seconds: float) -> None:
        """From the next dump on, these clients have rows of their own."""
        self._counters.rows.limit(max_clients, client_idle_seconds)

    def take_end(self, reason: str) -> None:
        """A child has ended unasked."""
        self._restarts[reason] += 1
        self.take_stop()

    def take_stop(self) -> None:
        """A child has ended, asked or not."""
        self._start = None
        if self._successor is None:
            self._handover = None
        self._missed_runs_of_ended = self._missed_runs or 0
        self._drift = {}

    def take_drift(self, drift: Mapping[tuple[Service, Direction], float]) -> None:
        """An audit has ended; without any drift when it could not be carried through."""
        self._audits += bool(drift)
        self._drift = dict(drift)

    def take_missed_runs(self, missed_runs: int | None) -> None:
        """What the kernel says of the child's probes, since the child's start."""
        if missed_runs is not None:
            total = self._missed_runs_of_ended + missed_runs
            self._missed_runs = max(total, self._missed_runs or 0)

    @without_collecting()
    def make_samples(
        self,
        unix_seconds: float,
        *,
        measured: bool,
        child: ChildHealth,
        state_kept: bool = True,
        sinks: SinksHealth = SinksHealth(),  # noqa: B008  it is frozen
    ) -> Samples:
        """The samples of the interval that ends now.

        ``measured`` if a dump has just ended it: then it ended when the dump was made.
        """
        complete = measured and self._delta is not None and self._delta.complete
        self._intervals += measured
        self._incomplete_intervals += not complete
        if measured and self._last_dump_unix_seconds is not None:
            unix_seconds = self._last_dump_unix_seconds
        health = Health(
            self.plan,
            child,
            dict(self._restarts),
            self._intervals,
            self._incomplete_intervals,
            self._refused_dumps,
            self._lost_events,
            self._missed_runs,
            self._last_dump_unix_seconds,
            self._drift,
            self._audits,
            self._gaps,
            self._gap_seconds,
            self._ledger.recovered_bytes,
            state_kept,
            sinks,
        )
        timed = measured and self._timed
        samples = make_samples(self._delta, health, unix_seconds, measured=measured, timed=timed)
        is_last = measured and self.dump is not None and self.dump.is_last
        return replace(samples, is_last=is_last)

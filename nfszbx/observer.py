"""Reads the kernel's sockets around dumps, for the audit and for the ledger.

Speaks up when the counts drift.
"""

import logging
from collections.abc import Mapping

from nfszbx.audit import Audit, Drift, SocketReading, spread, sum_high, sum_low
from nfszbx.clock import boot_ns, cpu_seconds, monotonic_seconds
from nfszbx.connections import Sight
from nfszbx.dump import Dump
from nfszbx.kernel.sockets import SocketReader, is_first_pid_namespace
from nfszbx.pace import Pace
from nfszbx.plan import Plan
from nfszbx.traffic import Direction, Service

LEAD_SECONDS = 0.5
"""How long before an expected dump the sockets are read: what flows meanwhile is not audited."""
READING_SHARE = 0.01
"""Of a processor, what readings after dumps may take; the ledger takes as much again."""
MAX_PAUSE_SECONDS = 9.5
"""Between two of them. At the default interval there is one after every dump."""
NOTABLE_RATIO = 0.01
NOTABLE_BYTES = 16_384
"""Less than that is not worth a line in the log: a message or two of an idle server."""

Drifts = Mapping[tuple[Service, Direction], float]
"""Ratios by service and direction."""

_log = logging.getLogger(__name__)


def _sum(sight: Sight) -> SocketReading:
    return SocketReading(sum_high(sight.connections), sight.end_ns, sight.namespaces)


class Observer:
    """Belongs to the main thread."""

    def __init__(self, plan: Plan, audit_interval_seconds: int) -> None:
        self._read_at: float | None = None
        self._failure = ""
        self._pace = Pace(READING_SHARE, MAX_PAUSE_SECONDS)
        self._drifting: set[str] = set()
        self._begin(plan, audit_interval_seconds)
        if plan.audited and not self._is_on:
            _log.info("no audit: this container does not see the processes of all servers")

    def _begin(self, plan: Plan, audit_interval_seconds: int) -> None:
        self._plan = plan
        self._reader = SocketReader(port for group in plan.audited for port in group.ports)
        self._audit = Audit(plan.audited, plan.measured_directions)
        self._audit_interval_seconds = audit_interval_seconds
        self._audited_at = float("-inf")
        self._is_on = bool(plan.audited) and is_first_pid_namespace()

    def change_plan(self, plan: Plan, audit_interval_seconds: int) -> None:
        """Go on with another plan.

        Where the same services are found stays known: the ledger takes connections that it has not
        seen before for new ones.
        """
        reader, is_same = self._reader, plan.audited == self._plan.audited
        self._begin(plan, audit_interval_seconds)
        if is_same:
            self._reader = reader

    def poll(self, *, is_needed: bool) -> tuple[Sight, Sight] | None:
        """Two readings when the next dump is close and they are due.

        They are for an audit, or needed by the ledger.
        """
        now = monotonic_seconds()
        if self._read_at is None or now < self._read_at:
            return None
        self._read_at = None
        is_due = now + LEAD_SECONDS >= self._audited_at + self._audit_interval_seconds
        if not is_due and not is_needed:
            return None
        try:
            if is_due:
                self._audited_at = now
                self._reader.find_namespaces()
            earlier, later = self._read(), self._read()
        except (OSError, RuntimeError) as error:
            self._tell_failure(error)
            return None
        if is_due:
            low = sum_low(earlier.connections, later.connections)
            self._audit.take_sockets(SocketReading(low, later.end_ns, later.namespaces))
        return earlier, later

    def expect_dump(self) -> None:
        """The next one comes an interval from now."""
        if self._is_on:
            self._read_at = monotonic_seconds() + max(
                0.0, self._plan.interval_seconds - LEAD_SECONDS
            )

    def take_dump(self, dump: Dump, *, is_needed: bool) -> tuple[Sight | None, Drifts | None]:
        """A reading right after the dump; and the drift, when the dump completes an audit.

        Where there are so many connections that a reading takes long, and it is not needed, there
        is one after some of the dumps only.
        """
        if not self._is_on:
            return None, None
        began = monotonic_seconds()
        sight = None
        if is_needed or self._audit.is_waiting or self._pace.is_due(began):
            cpu_before = cpu_seconds()
            sight = self.read()
            self._pace.note(began, cpu_seconds() - cpu_before)
            if sight is None:
                return None, {}
        drifts = self._audit.take_dump(dump, (lambda: _sum(sight)) if sight is not None else None)
        for drift in drifts:
            self._report(drift)
        return sight, spread(drifts, dump.total_bytes) if drifts else None

    def read(self) -> Sight | None:
        """A reading now; None where that cannot be."""
        if not self._is_on:
            return None
        try:
            return self._read()
        except (OSError, RuntimeError) as error:
            self._tell_failure(error)
            return None

    def _read(self) -> Sight:
        connections = self._reader.read()
        return Sight(connections, boot_ns(), self._reader.namespaces)

    def _tell_failure(self, error: OSError | RuntimeError) -> None:
        """Once for the same one; the next audit tries again."""
        if str(error) != self._failure:
            self._failure = str(error)
            _log.warning("no audit: the kernel's sockets cannot be read: %s", error)

    def _report(self, drift: Drift) -> None:
        """One line when the counts of a service begin to drift, and one when they stop."""
        what = f"{' and '.join(drift.group.services)}, {drift.direction}"
        if drift.bytes:
            counts = (drift.counted_bytes, *drift.truth)
            _log.debug("audit: %s: counted %d bytes, the sockets moved %d to %d", what, *counts)
        is_notable = abs(drift.ratio) > NOTABLE_RATIO and abs(drift.bytes) > NOTABLE_BYTES
        if is_notable and what not in self._drifting:
            self._drifting.add(what)
            _log.warning(
                "audit: %s: counted %d bytes where the kernel's sockets moved %d (%+.1f %%); "
                "'nfszbx check' tells what this way of counting does not see, and which others "
                "there are for the setting way",
                what,
                drift.counted_bytes,
                drift.counted_bytes - drift.bytes,
                100 * drift.ratio,
            )
        elif what in self._drifting and not is_notable:
            self._drifting.remove(what)
            _log.info("audit: %s: the counts agree with the kernel's sockets again", what)

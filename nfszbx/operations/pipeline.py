"""From the lines of the bpftrace that counts NFS operations to samples; reads no clock."""

import logging
from collections.abc import Callable

from nfszbx.config import Config
from nfszbx.errors import DumpError
from nfszbx.garbage import without_collecting
from nfszbx.operations.counts import OperationsCounters, OperationsDelta
from nfszbx.operations.dump import OperationsDump, OperationsDumpReader
from nfszbx.operations.kernel_counts import (
    KernelReading,
    Uncounted,
    parse_kernel_bytes,
    parse_kernel_counts,
)
from nfszbx.operations.plan import OperationsPlan, count_entries_of_time
from nfszbx.operations.samples import OperationsState, make_operation_samples
from nfszbx.pipeline import NEARLY_FULL
from nfszbx.records import LostEvents
from nfszbx.samples import Sample

_log = logging.getLogger(__name__)


class OperationsPipeline:
    """The counters of one set of labels; they outlast every child."""

    def __init__(
        self, plan: OperationsPlan, config: Config, find_export: Callable[[int, int], str]
    ) -> None:
        """``find_export`` tells the path of an export, by its mount and inode."""
        self.plan = plan
        """The one in force; another one has the same labels."""
        self._reader = OperationsDumpReader(
            plan.byte_order, count_entries_of_time(plan.bpftrace_version)
        )
        self._counters = OperationsCounters(
            plan.labels,
            config.operations.max_rows,
            config.client_idle_seconds,
            find_export,
            latency_by_client=plan.latency_by_client,
        )
        self._uncounted = Uncounted[tuple[str, str]]()
        self._uncounted_bytes = Uncounted[str]()
        self._delta: OperationsDelta | None = None
        self._timed = False
        self._refusing = False

    @without_collecting()
    def read_line(self, text: str) -> OperationsDump | None:
        """The dump that the line completes, if it does."""
        try:
            reading = self._reader.read_line(text)
        except DumpError as error:
            self._refuse(error)
            return None
        if isinstance(reading, LostEvents):
            _log.warning("NFS operations: bpftrace lost %d records", reading.count)
            return None
        return reading

    @without_collecting()
    def take_dump(self, dump: OperationsDump, kernel: KernelReading) -> bool:
        """Add a dump; False if it cannot be used. ``kernel`` was read when it had come."""
        try:
            delta = self._counters.advance(dump)
        except DumpError as error:
            self._refuse(error)
            return False
        if delta is None:
            return False
        self._refusing = False
        self._delta, self._timed = delta, not dump.is_last
        if kernel.text:
            counts, moved = parse_kernel_counts(kernel.text), parse_kernel_bytes(kernel.text)
            end_ns, at_ns = dump.end_ns, kernel.at_ns
            self._uncounted.advance(delta.operations, end_ns, counts, at_ns)
            self._uncounted_bytes.advance(delta.moved_bytes, end_ns, moved, at_ns)
        return True

    def _refuse(self, error: DumpError) -> None:
        """One line for a row of them; the next dump brings what they held."""
        if not self._refusing:
            _log.warning("NFS operations, refused: %s", error)
        self._refusing = True

    def can_follow(self, plan: OperationsPlan) -> bool:
        """Does it tell operations apart as the one in force?"""
        old = self.plan
        return (old.labels, old.latency_by_client) == (plan.labels, plan.latency_by_client)

    def follow(self, plan: OperationsPlan, max_rows: int, idle_seconds: float) -> None:
        """Go on with another plan, for the next child."""
        self.plan = plan
        self._counters.limit(max_rows, idle_seconds)

    @property
    def is_map_nearly_full(self) -> bool:
        """Will new clients soon have no place in the kernel's maps?"""
        entries = self._delta.map_entries if self._delta else 0
        return entries >= NEARLY_FULL * self.plan.map_max_entries

    def make_samples(self, threads: int | None, *, is_up: bool, is_new: bool) -> tuple[Sample, ...]:
        """All there is to say; ``is_new`` if a dump has just been taken."""
        state = OperationsState(
            is_up,
            self.plan.map_limit,
            tells_times=self.plan.has_latency,
            tells_waits=self.plan.has_waits,
            threads=threads,
            uncounted=self._uncounted.counts,
            uncounted_bytes=self._uncounted_bytes.counts,
        )
        return make_operation_samples(self._delta, state, timed=is_new and self._timed)

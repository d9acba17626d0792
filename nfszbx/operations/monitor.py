"""Runs the bpftrace that counts NFS operations while nfsd runs, and reads what it says.

It is one of its own, so that nothing which goes wrong with it touches the bytes of clients.
"""

import logging
from pathlib import Path

from nfszbx.child.crash_loop import LoopNews
from nfszbx.child.notices import Notices
from nfszbx.child.process import ChildProcess
from nfszbx.child.supervisor import (
    RENEWAL_SECONDS,
    Ended,
    Event,
    Line,
    LoopOver,
    Notice,
    Supervisor,
)
from nfszbx.clock import boot_ns, monotonic_seconds, slept_ns
from nfszbx.config import Config
from nfszbx.errors import BpftraceError
from nfszbx.kernel.facts import KernelFacts
from nfszbx.kernel.read import read_nfs_facts
from nfszbx.kernel.tracing import read_nfsd_threads
from nfszbx.operations.exports import ExportTable, find_processes
from nfszbx.operations.kernel_counts import KernelReading
from nfszbx.operations.map_size import MapSize
from nfszbx.operations.news import News
from nfszbx.operations.pipeline import OperationsPipeline
from nfszbx.operations.plan import OperationsPlan, has_monotonic_clock, make_operations_plan
from nfszbx.operations.script import render_operations_script
from nfszbx.samples import Sample

WATCH_SECONDS = 10.0
"""Between two looks whether nfsd runs."""
GRACE_SECONDS = 60.0
"""nfsd may come back so soon; after that its module may be unloaded."""
RETRY_SECONDS = 3600.0
"""Between two attempts with a bpftrace that never worked."""
START_TIMEOUT_SECONDS = 900.0
"""Nothing else waits for it."""
MAX_SLEPT_NS = 1_000_000
"""Times of requests would be wrong by more than that."""
MAX_READS = 200
"""Pieces of output in one turn: other things are to be done as well."""
ROOT = Path("/")

_log = logging.getLogger(__name__)


class OperationsMonitor:
    """Belongs to the main thread; a turn waits for nothing."""

    def __init__(self, config: Config, facts: KernelFacts) -> None:
        self._config, self._facts = config, facts
        self._supervisor: Supervisor | None = None
        self._pipeline: OperationsPipeline | None = None
        self._exports: ExportTable | None = None
        self._previous: Supervisor | None = None
        """The last one that was stopped: its history goes on."""
        self._map_size = MapSize()
        self._given_up_on: set[Path] = set()
        """Threads of the nfsd with which it did not work."""
        self._threads: int | None = None
        self._look_at = self._seen_at = self._renewed_at = self._start_at = float("-inf")
        self._slept_ns = 0
        """When bpftrace was started."""
        self._omitted: set[str] = set()
        self._notices = Notices(_log, "bpftrace of NFS operations")
        self._is_up: bool | None = None
        """Also while one child follows another as planned; None until that is known."""
        self._news = News()

    def poll(self) -> None:
        """Do what is due."""
        now = monotonic_seconds()
        if self._supervisor is not None and self._has_wrong_clock():
            _log.info("the machine was suspended; the bpftrace of NFS operations is started anew")
            self.stop()
            self._look_at = float("-inf")
        if now >= self._look_at:
            self._look_at = now + WATCH_SECONDS
            if _is_wanted(self._config):
                self._look(now)
        for _ in range(MAX_READS):
            if self._supervisor is None:
                return
            try:
                events = list(self._supervisor.poll(wait_seconds=0.0))
            except BpftraceError as error:
                _log.warning("NFS operations are not counted: %s", error)
                self._give_up(now)
                return
            for event in events:
                self._take(event)
            if not events:
                return

    def take_news(self) -> tuple[Sample, ...] | None:
        """All there is to say, when there is something new; empty, once, if that is no more."""
        return self._news.take()

    def change_config(self, config: Config) -> None:
        """Go on with other settings; other labels begin at zero.

        bpftrace begins anew only if it has something else to count.
        """
        old, self._config = self._config, config
        if make_operations_plan(self._facts, old) == make_operations_plan(self._facts, config):
            if self._pipeline is not None:
                self._follow(self._pipeline.plan)
            return
        self.stop()
        self._map_size = MapSize()
        self._look_at = self._start_at = float("-inf")
        if _is_wanted(old) and not _is_wanted(config) and self._pipeline is not None:
            self._is_up = None
            self._news.put(())

    def stop(self) -> None:
        """End bpftrace, and read what it has to say last."""
        if self._supervisor is None:
            return
        for event in self._supervisor.stop():
            self._take(event)
        self._previous, self._supervisor = self._supervisor, None

    def _look(self, now: float) -> None:
        threads = read_nfsd_threads(ROOT)
        has_changed, self._threads = threads != self._threads, threads
        if has_changed and self._is_up is not None:
            self._tell_state(is_up=self._is_up)
        if threads:
            self._seen_at = now
            self._renew_if_needed(now)
            if self._supervisor is None and (now >= self._start_at or self._has_begun_anew()):
                self._start(now)
            return
        self._start_at = float("-inf")
        if self._supervisor is not None and now > self._seen_at + GRACE_SECONDS:
            self.stop()
            self._tell_state(is_up=False)
        if not self._is_up:  # what it was is told; what it will be is to be seen
            self._is_up = None

    def _has_wrong_clock(self) -> bool:
        """Has the machine slept? Then the script sets its clock back by too little."""
        version = self._facts.bpftrace.version
        return not has_monotonic_clock(version) and slept_ns() - self._slept_ns > MAX_SLEPT_NS

    def _has_begun_anew(self) -> bool:
        """Has nfsd been started again, perhaps between two looks?"""
        return bool(self._given_up_on) and self._given_up_on.isdisjoint(_list_nfsd())

    def _renew_if_needed(self, now: float) -> None:
        """With empty maps. What is done meanwhile is told as not counted."""
        if self._supervisor is None or self._pipeline is None or not self._supervisor.delivers:
            return
        plan = self._pipeline.plan
        may_grow = plan.map_max_entries < plan.map_limit
        is_due = may_grow or now > self._renewed_at + RENEWAL_SECONDS
        if is_due and self._pipeline.is_map_nearly_full:
            self._renewed_at = now
            _log.info("the maps of NFS requests are nearly full; bpftrace is started anew")
            self.stop()
            self._map_size.grow(plan)

    def _start(self, now: float) -> None:
        self._facts = read_nfs_facts(self._facts)
        plan = self._map_size.apply(make_operations_plan(self._facts, self._config))
        for omission in plan.omissions:
            if omission.what not in self._omitted:
                self._omitted.add(omission.what)
                words = (omission.what, omission.reason, omission.remedy)
                _log.info("not told of NFS operations: %s: %s (%s)", *words)
        if not plan.hooks:
            self._give_up(now)
            return
        self._follow(plan)
        script = render_operations_script(plan)
        self._slept_ns = slept_ns()
        self._supervisor = Supervisor(
            lambda: ChildProcess(self._facts.bpftrace.path, script),
            plan.interval_seconds,
            _COUNT_OF_MAPS * plan.map_max_entries,
            START_TIMEOUT_SECONDS,
        )
        if self._previous is not None:
            self._supervisor.inherit(self._previous)

    def _follow(self, plan: OperationsPlan) -> None:
        """The counters go on, unless they are told apart otherwise now."""
        unique = plan.layout.mount_id_is_unique
        if self._exports is None:
            self._exports = ExportTable(ROOT, unique=unique)
        if self._pipeline is None or not self._pipeline.can_follow(plan):
            self._pipeline = OperationsPipeline(plan, self._config, self._exports.find_path)
        else:
            max_rows = self._config.operations.max_rows
            self._pipeline.follow(plan, max_rows, self._config.client_idle_seconds)

    def _take(self, event: Event) -> None:
        if isinstance(event, Line):
            self._take_line(event.text)
        elif isinstance(event, Notice):
            self._notices.take(event.text)
        elif isinstance(event, LoopOver):
            _log.warning("NFS operations: the crash loop of %d ends is over", event.ends)
        elif isinstance(event, Ended):
            is_known = event.news is LoopNews.KNOWN
            level = logging.DEBUG if is_known else logging.WARNING
            _log.log(level, "NFS operations: %s", event.describe())
            self._tell_state(is_up=False)
            if self._map_size.note_end():
                _log.warning("NFS operations: the maps stay as small as they were")
                self.stop()
                self._look_at = float("-inf")

    def _take_line(self, text: str) -> None:
        if self._pipeline is None or self._exports is None or self._supervisor is None:
            return
        dump = self._pipeline.read_line(text)
        if dump is None:
            return
        self._exports.refresh()
        if not self._pipeline.take_dump(dump, _read_kernel()):
            return
        over = self._supervisor.note_dump()
        if over is not None:
            self._take(over)
        self._map_size.note_dump()
        self._is_up = True
        self._threads = read_nfsd_threads(ROOT)  # of the same moment as those that are busy
        self._news.put(self._pipeline.make_samples(self._threads, is_up=True, is_new=True))

    def _give_up(self, now: float) -> None:
        """For an hour, or until nfsd begins anew or there is something else to count."""
        if self._supervisor is not None:
            self._supervisor.kill()
        self._supervisor = self._previous = None
        self._start_at = now + RETRY_SECONDS
        self._given_up_on = _list_nfsd()
        self._tell_state(is_up=False)

    def _tell_state(self, *, is_up: bool) -> None:
        self._is_up = is_up
        if self._pipeline is not None:
            self._news.put(self._pipeline.make_samples(self._threads, is_up=is_up, is_new=False))


def _is_wanted(config: Config) -> bool:
    return config.operations.enabled and config.services.nfsd.enabled


def _list_nfsd() -> set[Path]:
    return set(find_processes(ROOT / "proc", ("nfsd",)))


def _read_kernel() -> KernelReading:
    try:
        text = (ROOT / "proc/net/rpc/nfsd").read_text()
    except OSError:
        text = ""
    return KernelReading(text, boot_ns())


_COUNT_OF_MAPS = 4
"""That may be full at a time, for what a dump may be long."""

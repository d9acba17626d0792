"""Runs it all: the one place that wires child, pipeline, sinks, clock and signals together."""

import logging
import signal
from collections.abc import Sequence
from types import FrameType

from nfszbx.child.crash_loop import LoopNews
from nfszbx.child.missed_runs import read_missed_runs
from nfszbx.child.process import ChildProcess
from nfszbx.child.states import EndReason
from nfszbx.child.supervisor import Ended, Event, Line, LoopOver, Supervisor
from nfszbx.clock import boot_ns, monotonic_seconds, unix_seconds
from nfszbx.config import Config
from nfszbx.counter_store import CounterStore, read_boot_id
from nfszbx.health import ChildHealth
from nfszbx.kernel.facts import KernelFacts
from nfszbx.observer import Observer
from nfszbx.pipeline import Pipeline
from nfszbx.plan import Plan, leave_out_rpc
from nfszbx.script import render_script
from nfszbx.sinks.base import Worker
from nfszbx.sinks.console import make_console_sink
from nfszbx.sinks.prometheus import PrometheusSink
from nfszbx.sinks.worker import SinkWorker
from nfszbx.sinks.zabbix import open_zabbix
from nfszbx.state import StateDirectory
from nfszbx.watch import TransportWatch, log_omissions

OVERDUE_INTERVALS = 1.5
"""Without a child, an interval is reported as not measured after so many of its lengths."""
FIRST_DUMP_SECONDS = 15.0
"""What bpftrace may take to compile and attach before the first interval counts as overdue."""
SINK_STOP_SECONDS = 5.0
STOP_SECONDS = 15.0
"""What another nfszbx may take to end, with its child, its sinks and its disk."""
MAX_NOTICES = 100
"""Different lines of bpftrace's standard error that are logged; it repeats itself at each start."""

_log = logging.getLogger(__name__)


def open_counters(state: StateDirectory) -> CounterStore | None:
    """What an earlier run has counted, to go on from there; None when another one uses it."""
    if state.is_in_use:
        _log.info("counters begin at zero and are not kept: another nfszbx uses %s", state.path)
        return None
    return CounterStore(state.path / "counters.sqlite3", read_boot_id())


def open_sinks(config: Config) -> list[Worker]:
    """The configured sinks.

    Raises :class:`SinkStartError` and :class:`ConfigurationError`, with those opened before closed.
    """
    workers: list[Worker] = []
    try:
        for name in dict.fromkeys(config.sinks):
            match name:
                case "console":
                    workers.append(SinkWorker(make_console_sink()))
                case "prometheus":
                    workers.append(SinkWorker(PrometheusSink(config.prometheus)))
                case "zabbix":
                    workers.append(open_zabbix(config))
    except BaseException:
        for worker in workers:
            worker.stop(SINK_STOP_SECONDS)
        raise
    return workers


class Daemon:
    """One run, from start to the signal that ends it. Belongs to the main thread."""

    def __init__(
        self,
        config: Config,
        facts: KernelFacts,
        plan: Plan,
        workers: Sequence[Worker],
        counters: CounterStore | None = None,
    ) -> None:
        self._program = facts.bpftrace.path
        self._script = render_script(plan)
        self._on_trial = False
        """Until the script that was changed to has delivered a dump."""
        self._watch = TransportWatch(config, facts)
        self._interval_seconds = config.interval_seconds
        saved = counters.saved if counters else None
        self._pipeline = Pipeline(
            plan, config.max_clients, config.client_idle_seconds, EndReason, saved
        )
        self._supervisor = Supervisor(
            lambda: ChildProcess(self._program, self._script),
            config.interval_seconds,
            plan.map_max_entries,
        )
        self._observer = Observer(plan, config.audit_interval_seconds)
        self._workers = workers
        self._keepers = [SinkWorker(counters)] if counters else []
        self._stopping = False
        self._overdue_at = 0.0
        self._known_notices: set[str] = set()

    def run(self) -> None:
        """Measure until a signal ends it, or until every sink is gone.

        The last bytes before that are counted and delivered.
        """
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, the end of a child has no status
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup means it
                signal.signal(number, self._request_stop)
        _log.info("measuring; the first values come in %d seconds", self._interval_seconds)
        self._overdue_at = monotonic_seconds() + FIRST_DUMP_SECONDS + self._interval_seconds
        try:
            while not self._stopping and not all(worker.is_gone for worker in self._workers):
                for event in self._supervisor.poll():
                    self._take(event)
                self._pipeline.take_before(
                    self._observer.poll(is_settled=self._pipeline.is_settled)
                )
                self._follow(self._watch.poll())
                # A child that is only late brings everything with its next dump.
                if monotonic_seconds() > self._overdue_at and not self._supervisor.delivers:
                    self._publish(measured=False)
            for event in self._supervisor.stop():
                self._take(event)
        finally:
            self._supervisor.kill()
            for worker in (*self._workers, *self._keepers):
                worker.stop(SINK_STOP_SECONDS)

    def _request_stop(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._stopping = True

    def _take(self, event: Event) -> None:
        if isinstance(event, Line):
            begin_ns = self._pipeline.begin_ns
            if self._pipeline.take_line(event.text, unix_seconds(), boot_ns()):
                over = self._supervisor.note_dump()
                if over is not None:
                    self._take(over)
                self._on_trial = False
                if self._supervisor.pid is not None:
                    self._pipeline.take_missed_runs(read_missed_runs(self._supervisor.pid))
                self._observe()
                self._publish(measured=True)
            elif self._pipeline.begin_ns != begin_ns:
                self._observer.expect_dump()
        elif isinstance(event, Ended):
            self._pipeline.take_end(event.reason)
            if self._on_trial:
                self._go_back()
            is_known = event.news is LoopNews.KNOWN
            _log.log(logging.DEBUG if is_known else logging.WARNING, event.describe())
        elif isinstance(event, LoopOver):
            _log.warning("bpftrace works again: the crash loop of %d ends is over", event.ends)
        elif event.text not in self._known_notices and len(self._known_notices) < MAX_NOTICES:
            self._known_notices.add(event.text)
            _log.log(_judge_notice(event.text), "bpftrace: %s", event.text)

    def _follow(self, plan: Plan | None) -> None:
        """Go on with another plan; what flows until the new bpftrace counts is not measured."""
        if plan is None:
            return
        log_omissions(plan)
        script = render_script(plan)
        if script != self._script or plan.rpc_hooks:  # their module may have been loaded anew
            for event in self._supervisor.stop():
                self._take(event)
            self._pipeline.take_stop()
            self._script, self._on_trial = script, True
        self._pipeline.plan = plan

    def _go_back(self) -> None:
        """When the script that was changed to has ended before its first dump."""
        plan = leave_out_rpc(self._pipeline.plan)
        log_omissions(plan)
        self._script, self._pipeline.plan, self._on_trial = render_script(plan), plan, False

    def _observe(self) -> None:
        self._observer.expect_dump()
        if self._pipeline.dump is not None:
            sight, drift = self._observer.take_dump(self._pipeline.dump)
            self._pipeline.take_after(sight)
            if drift is not None:
                self._pipeline.take_drift(drift)

    def _publish(self, *, measured: bool) -> None:
        samples = self._pipeline.make_samples(
            unix_seconds(),
            measured=measured,
            child=ChildHealth(
                self._supervisor.delivers, self._supervisor.state, self._supervisor.is_crash_loop
            ),
            state_kept=self._is_state_kept(),
            sinks=tuple(tally for worker in self._workers for tally in worker.healths()),
        )
        for worker in (*self._workers, *self._keepers):
            worker.put(samples)
        self._set_overdue()

    def _is_state_kept(self) -> bool:
        """Is what a restart needs on disk?"""
        return bool(self._keepers) and all(
            worker.is_on_disk for worker in (*self._workers, *self._keepers)
        )

    def _set_overdue(self) -> None:
        self._overdue_at = monotonic_seconds() + OVERDUE_INTERVALS * self._interval_seconds


def _judge_notice(text: str) -> int:
    """The level of a line on bpftrace's standard error: only what it calls an error is one.

    Its warnings are about style, and differ by version. It may also be unable to raise
    RLIMIT_MEMLOCK: harmless since Linux kernel commit d5299b67dd59 ("bpf: Memcg-based memory
    accounting for bpf progs") (in v5.11).
    """
    is_error = "ERROR" in text and "RLIMIT_MEMLOCK" not in text
    return logging.WARNING if is_error else logging.DEBUG

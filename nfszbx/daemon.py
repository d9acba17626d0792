"""Runs it all: the one place that wires child, pipeline, sinks, clock and signals together."""

import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from types import FrameType

from nfszbx.beside import Beside
from nfszbx.child.crash_loop import LoopNews
from nfszbx.child.memory import Memory
from nfszbx.child.missed_runs import read_missed_runs
from nfszbx.child.notices import Notices
from nfszbx.child.process import ChildProcess
from nfszbx.child.states import EndReason
from nfszbx.child.supervisor import RENEWAL_SECONDS, Ended, Event, Line, LoopOver, Supervisor
from nfszbx.clock import boot_ns, monotonic_seconds, unix_seconds
from nfszbx.config import Config
from nfszbx.counter_store import CounterStore, read_boot_id
from nfszbx.errors import NfszbxError
from nfszbx.health import ChildHealth
from nfszbx.kernel.facts import KernelFacts
from nfszbx.log import change_level, start_logging
from nfszbx.observer import Observer
from nfszbx.pipeline import Pipeline
from nfszbx.plan import Plan, leave_out_rpc
from nfszbx.privileges import find_account
from nfszbx.reload import Changes, compare, keep
from nfszbx.script import Script, render_script
from nfszbx.sinks.supervised import SINK_STOP_SECONDS, SupervisedSinks
from nfszbx.sinks.worker import SinkWorker
from nfszbx.state import StateDirectory
from nfszbx.successor import Successor
from nfszbx.systemd import ServiceManager
from nfszbx.watch import TransportWatch, log_omissions

OVERDUE_INTERVALS = 1.5
"""Without a child, an interval is reported as not measured after so many of its lengths."""
FIRST_DUMP_SECONDS = 15.0
"""What bpftrace may take to compile and attach before the first interval counts as overdue."""
READY_SECONDS = 60.0
"""A service is ready with its first dump. Where intervals are longer, it is taken for ready now."""

_log = logging.getLogger(__name__)


def open_counters(state: StateDirectory) -> CounterStore | None:
    """What an earlier run has counted, to go on from there; None when another one uses it."""
    if state.is_in_use:
        _log.info("counters begin at zero and are not kept: another nfszbx uses %s", state.path)
        return None
    return CounterStore(state.path / "counters.sqlite3", read_boot_id())


class Daemon:
    """One run, from start to the signal that ends it. Belongs to the main thread."""

    def __init__(
        self,
        config: Config,
        facts: KernelFacts,
        plan: Plan,
        state: StateDirectory,
        load: Callable[[], Config],
    ) -> None:
        """Begin to open the sinks, and open the counters of an earlier run.

        ``load`` reads the settings again. Raises like :class:`SupervisedSinks`.
        """
        self._config = config
        self._load = load
        self._service = ServiceManager(os.environ, os.getpid())
        self._sinks = SupervisedSinks(config, state, find_account())
        if sys.stdout.isatty() and sys.stderr.isatty():  # there may be a live table
            start_logging(config.log_level, self._sinks.write_line)
        counters = open_counters(state)
        self._program = facts.bpftrace.path
        self._script = render_script(plan)
        self._on_trial = False
        """Until the script that was changed to has delivered a dump."""
        self._watch = TransportWatch(config, facts)
        saved = counters.saved if counters else None
        self._pipeline = Pipeline(
            plan, config.max_clients, config.client_idle_seconds, EndReason, saved
        )
        self._supervisor = Supervisor(
            lambda: ChildProcess(self._program, self._script),
            config.interval_seconds,
            plan.map_max_entries,
        )
        self._successor: Successor | None = None
        self._renewed_at = float("-inf")
        self._memory = Memory()
        self._observer = Observer(plan, config.audit_interval_seconds)
        self._keepers = [SinkWorker(counters)] if counters else []
        self._stopping = self._reload_is_due = False
        self._trouble = ""
        """What ``systemctl status`` is to show of the child's last end."""
        self._change: tuple[Config, Changes, Plan] | None = None
        """Settings that wait for their sinks."""
        self._reload_problem = ""
        self._ready_at = 0.0
        self._overdue_at = 0.0
        self._notices = Notices(_log, "bpftrace")
        self._beside = Beside(config, facts)

    def run(self) -> None:
        """Measure until a signal ends it, or until every sink is gone.

        The last bytes before that are counted and delivered. Raises like
        :meth:`SupervisedSinks.wait_until_open`.
        """
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, the end of a child has no status
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup means it
                signal.signal(number, self._request_stop)
        if self._service.is_there:  # there is no terminal that could hang up
            signal.signal(signal.SIGHUP, self._request_reload)
        interval_seconds = self._pipeline.plan.interval_seconds
        self._overdue_at = monotonic_seconds() + FIRST_DUMP_SECONDS + interval_seconds
        self._ready_at = monotonic_seconds() + READY_SECONDS
        try:
            for event in self._supervisor.poll(0.0):  # bpftrace compiles while the sinks open
                self._take(event)
            self._sinks.wait_until_open()
            _log.info("measuring; the first values come in %d seconds", interval_seconds)
            while not self._stopping and not self._sinks.are_gone:
                for event in self._supervisor.poll():
                    self._take(event)
                self._pipeline.take_before(
                    self._observer.poll(is_needed=self._pipeline.needs_readings)
                )
                self._follow(self._watch.poll())
                self._poll_successor()
                self._beside.poll()
                # A child that is only late brings everything with its next dump.
                if monotonic_seconds() > self._overdue_at and not self._supervisor.delivers:
                    self._publish(measured=False)
                self._tell_service()
                self._poll_reload()
            self._service.begin_stop()
            self._give_up_successor()
            self._beside.stop()
            for event in self._supervisor.stop():
                self._take(event)
        finally:
            self._give_up_successor()
            self._beside.stop()
            self._supervisor.kill()
            self._sinks.stop()
            for keeper in self._keepers:
                keeper.stop(SINK_STOP_SECONDS)

    def _request_stop(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._stopping = True

    def _request_reload(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._reload_is_due = True

    def _tell_service(self) -> None:
        now, is_running = monotonic_seconds(), self._supervisor.pid is not None
        if self._supervisor.delivers:
            plan = self._pipeline.plan
            services = ", ".join(service.service for service in plan.services)
            doing = f"measuring {services} every {plan.interval_seconds} s"
        else:
            doing = f"{self._trouble}starting bpftrace"
        self._service.turn(
            now,
            doing + self._reload_problem,
            is_ready=self._change is None
            and (self._supervisor.has_delivered or (is_running and now > self._ready_at)),
        )

    def _reload(self) -> None:
        """Read the settings again and go on with them; with those in force if they are wrong."""
        self._reload_is_due = False
        self._service.begin_reload(monotonic_seconds())
        try:
            config = self._load()
            changes = compare(self._config, config)
            config = keep(self._config, config, changes)
            plan = self._watch.plan_for(config) if changes.new_plan else self._pipeline.plan
            if plan.obstacles:
                raise plan.obstacles[0].as_error()
            if changes.new_sinks:
                self._sinks.begin_change(config)
                self._change = config, changes, plan
            else:
                self._go_on_as(config, changes, plan)
        except NfszbxError as error:
            self._note_not_reloaded(error)

    def _poll_reload(self) -> None:
        """Measuring goes on while the sinks begin anew; all else follows when they have."""
        if self._change is None:
            if self._reload_is_due:
                self._reload()
            return
        try:
            if not self._sinks.has_changed():
                return
            self._go_on_as(*self._change)
        except NfszbxError as error:
            self._note_not_reloaded(error)
        self._change = None

    def _note_not_reloaded(self, error: NfszbxError) -> None:
        self._reload_problem = f"; not reloaded: {error}"
        _log.error("the configuration was not reloaded, the old one stays: %s", error)

    def _go_on_as(self, config: Config, changes: Changes, plan: Plan) -> None:
        self._reload_problem = ""
        self._config = self._watch.config = config
        change_level(config.log_level)
        self._sinks.change_level(config.log_level)
        self._pipeline.change_rows(config.max_clients, config.client_idle_seconds)
        if changes.new_plan:
            self._follow(plan)
        self._beside.change_config(config)
        _log.info("configuration reloaded; changed: %s", ", ".join(changes.keys) or "nothing")
        if changes.at_restart:
            _log.warning("these wait for a restart: %s", ", ".join(changes.at_restart))

    def _take(self, event: Event) -> None:
        if isinstance(event, Line):
            self._take_line(event.text)
        elif isinstance(event, Ended):
            self._take_end(event)
        elif isinstance(event, LoopOver):
            _log.warning("bpftrace works again: the crash loop of %d ends is over", event.ends)
        else:
            self._notices.take(event.text)

    def _take_line(self, text: str) -> None:
        begin_ns = self._pipeline.begin_ns
        if self._pipeline.take_line(text, unix_seconds(), boot_ns()):
            over = self._supervisor.note_dump()
            if over is not None:
                self._take(over)
            self._on_trial = False
            self._trouble = ""
            if self._supervisor.pid is not None:
                self._pipeline.take_missed_runs(read_missed_runs(self._supervisor.pid))
            self._observe()
            self._publish(measured=True)
            if not self._stopping:
                self._renew_if_needed()
        elif self._pipeline.begin_ns != begin_ns:
            self._observer.expect_dump()

    def _take_end(self, end: Ended) -> None:
        self._observe_end()
        self._pipeline.take_end(end.reason)
        if self._successor is not None:
            self._adopt(self._successor.plan, self._successor.script)
            self._give_up_successor()
        elif self._on_trial:
            self._go_back()
        is_known = end.news is LoopNews.KNOWN
        _log.log(logging.DEBUG if is_known else logging.WARNING, end.describe())
        self._trouble = f"bpftrace ended ({end.reason}): {end.detail}; "

    def _follow(self, plan: Plan | None) -> None:
        """Go on with another plan; with a second bpftrace beside the first, if that counts."""
        if plan is None:
            return
        log_omissions(plan)
        self._give_up_successor()
        script = render_script(plan)
        if script == self._script and not plan.rpc_hooks:  # their module may have been loaded anew
            self._adopt(plan, script)
        elif self._supervisor.delivers:
            self._successor = Successor(self._program, script, plan, self._pipeline)
        else:
            self._stop_child()
            self._adopt(plan, script)
            self._on_trial = True

    def _stop_child(self) -> None:
        """With its last word."""
        for event in self._supervisor.stop():
            self._take(event)
        self._observe_end()
        self._pipeline.take_stop()

    def _adopt(self, plan: Plan, script: Script) -> None:
        """From now on this is in force, and what the next child is given."""
        self._pipeline.change_plan(plan)
        self._script = script
        self._supervisor.change_limits(plan.interval_seconds, plan.map_max_entries)
        self._observer.change_plan(plan, self._config.audit_interval_seconds)
        self._set_overdue()

    def _renew_if_needed(self) -> None:
        """With a bpftrace that has an empty map, and as little memory as this one had at first."""
        if self._successor is not None or not self._supervisor.delivers:
            return
        plan, now = self._pipeline.plan, monotonic_seconds()
        if self._pipeline.is_map_nearly_full:
            why = f"the map of clients is nearly full ({plan.map_max_entries} entries)"
        elif self._memory.has_grown(self._supervisor.pid):
            why = "bpftrace has taken more and more memory"
        else:
            return
        if now >= self._renewed_at + RENEWAL_SECONDS:
            self._renewed_at = now
            _log.info("%s; another bpftrace is started, to take over", why)
            self._successor = Successor(self._program, self._script, plan, self._pipeline)

    def _poll_successor(self) -> None:
        successor = self._successor
        if successor is None:
            return
        for event in successor.poll():
            if isinstance(event, Ended):
                _log.warning("the new bpftrace has come to nothing: %s", event.detail)
                self._give_up_successor()
                if successor.plan.rpc_hooks:
                    self._follow(leave_out_rpc(successor.plan))
                return
            self._take(event)
        if successor.is_ready:
            self._stop_child()
            self._go_on_with(successor)

    def _go_on_with(self, successor: Successor) -> None:
        successor.supervisor.inherit(self._supervisor)
        self._supervisor, self._successor = successor.supervisor, None
        self._pipeline.go_on_with_successor()
        self._adopt(successor.plan, successor.script)
        _log.info("the new bpftrace counts, the old one has ended")

    def _give_up_successor(self) -> None:
        if self._successor is not None:
            self._successor.kill()
            self._successor = None

    def _go_back(self) -> None:
        """When the script that was changed to has ended before its first dump."""
        plan = leave_out_rpc(self._pipeline.plan)
        log_omissions(plan)
        self._adopt(plan, render_script(plan))
        self._on_trial = False

    def _observe(self) -> None:
        self._observer.expect_dump()
        dump = self._pipeline.dump
        if dump is not None:
            is_ending = dump.is_last or self._successor is not None
            sight, drift = self._observer.take_dump(
                dump, is_needed=is_ending or self._pipeline.needs_readings
            )
            self._pipeline.take_after(sight)
            if drift is not None:
                self._pipeline.take_drift(drift)

    def _observe_end(self) -> None:
        """Of a child whose last dump had no reading after it."""
        if self._pipeline.lacks_after:
            self._pipeline.take_after(self._observer.read())

    def _publish(self, *, measured: bool) -> None:
        samples = self._pipeline.make_samples(
            unix_seconds(),
            measured=measured,
            child=ChildHealth(
                self._supervisor.delivers, self._supervisor.state, self._supervisor.is_crash_loop
            ),
            state_kept=self._is_state_kept(),
            sinks=self._sinks.health(),
        )
        samples = replace(
            samples,
            samples=samples.samples + self._beside.sessions,
            operations=self._beside.take_operations(),
        )
        self._sinks.put(samples)
        for keeper in self._keepers:
            keeper.put(samples)
        self._set_overdue()

    def _is_state_kept(self) -> bool:
        """Is what a restart needs on disk?"""
        return (
            bool(self._keepers)
            and self._sinks.are_on_disk
            and all(keeper.is_on_disk for keeper in self._keepers)
        )

    def _set_overdue(self) -> None:
        interval_seconds = self._pipeline.plan.interval_seconds
        self._overdue_at = monotonic_seconds() + OVERDUE_INTERVALS * interval_seconds

"""Keeps the process with the sinks running, from the side of the process that measures.

It is given every interval, and again those that it had not done with when it ended. It may die,
hang or never begin: the measuring hears of it as the state of the sinks, and goes on.
"""

import logging
import math
import os
import queue
import select
import sys
import threading
from collections import deque
from contextlib import suppress
from dataclasses import replace

from nfszbx.clock import monotonic_seconds
from nfszbx.config import Config
from nfszbx.errors import ConfigurationError, NfszbxError, PrivilegeError, SinkStartError
from nfszbx.health import SinksHealth
from nfszbx.privileges import Account
from nfszbx.samples import Samples
from nfszbx.sinks.connection import SinksConnection
from nfszbx.sinks.folder import NAME, prepare_folder
from nfszbx.sinks.messages import (
    Begin,
    Frame,
    Kind,
    MessageError,
    encode_samples,
)
from nfszbx.sinks.reports import parse_refusal, parse_report
from nfszbx.sinks.tallies import Tallies
from nfszbx.sinks.waiting import WaitingIntervals
from nfszbx.state import StateDirectory

SINK_STOP_SECONDS = 5.0
"""What each sink gets at the end to take what is queued."""
STOP_SECONDS = 15.0
"""What another nfszbx may take to end, with its child, its sinks and its disk."""
START_SECONDS = 60.0
SILENT_SECONDS = 20.0
"""Without a sign of life it hangs, and is killed. Sleep of this process does not count."""
FIRST_BACK_OFF_SECONDS, MAX_BACK_OFF_SECONDS = 1.0, 30.0
WELL_SECONDS = 60.0
"""After an end of one that has lived for so long, the first back-off counts again."""
MARGIN_SECONDS = 5.0
"""Beyond what its sinks take to stop, for the process itself."""
_TURN_SECONDS = 0.5
_MAX_CONTROLS = 1000

_ERRORS: dict[int, type[NfszbxError]] = {
    error.exit_code: error for error in (ConfigurationError, PrivilegeError, SinkStartError)
}
_log = logging.getLogger(__name__)


class SupervisedSinks:
    """The sinks of the configuration, in a process of another user.

    Its methods belong to the main thread; a thread of its own starts the process and talks to it.
    """

    def __init__(self, config: Config, state: StateDirectory, account: Account | None) -> None:
        """Begin to open them; :meth:`wait_until_open` tells of the end.

        ``account`` is whom the process belongs to; None leaves it to this one's user. Raises
        :class:`SinkStartError` when the state directory is not to be had.
        """
        self._config = config
        self._state = state
        self._account = account
        self._lock = threading.Lock()
        self._waiting = WaitingIntervals()
        self._tallies = Tallies()
        self._controls: deque[tuple[Kind, bytes]] = deque(maxlen=_MAX_CONTROLS)
        """What goes to the process beside intervals."""
        self._orders: queue.SimpleQueue[Config | None] = queue.SimpleQueue()
        """Settings to begin anew with; None means to end."""
        self._answers: queue.SimpleQueue[NfszbxError | None] = queue.SimpleQueue()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._connection: SinksConnection | None = None
        self._silent_seconds = 0.0
        self._started_at, self._start_at = 0.0, math.inf
        self._back_off = FIRST_BACK_OFF_SECONDS
        self._restarts = 0
        self._problem = ""
        self._is_broken = False
        self._thread = threading.Thread(target=self._run, name="sinks", daemon=True)
        self.begin_change(config)
        self._thread.start()

    def wait_until_open(self) -> None:
        """For those of the constructor.

        Raises :class:`SinkStartError`, :class:`ConfigurationError` and :class:`PrivilegeError`.
        """
        error = self._answers.get()
        if error is not None:
            raise error

    @property
    def are_gone(self) -> bool:
        """Nobody takes anything any more."""
        return self._is_broken or self._tallies.report.gone

    @property
    def are_on_disk(self) -> bool:
        """Does everything outlast a restart that is to?"""
        return self._tallies.is_up and self._tallies.report.on_disk

    def put(self, samples: Samples) -> None:
        """Give the samples to each sink; never waits."""
        if "zabbix" not in self._config.sinks:  # it alone is told of clients without a row
            samples = replace(samples, client_bytes={})
        with self._lock:
            body = encode_samples(self._waiting.next_number, samples)
            has_operations = samples.operations is not None
            self._waiting.add(samples.unix_seconds, body, has_operations=has_operations)
        os.eventfd_write(self._wake, 1)

    def health(self) -> SinksHealth:
        """Of all sinks now."""
        with self._lock:
            waiting = self._waiting
            each = self._tallies.list_healths(waiting.unsent, waiting.dropped)
            return SinksHealth(each, self._restarts)

    def begin_change(self, config: Config) -> None:
        """Let the sinks begin anew with these settings; :meth:`has_changed` tells of the end.

        What is queued is delivered before, for a few seconds, and what is not goes to the new ones.
        Raises :class:`SinkStartError` when the state directory is not to be had.
        """
        if "zabbix" in config.sinks:
            self._state.require(STOP_SECONDS)
            if self._account is not None:
                prepare_folder(self._state.path, self._account)
        self._orders.put(config)
        os.eventfd_write(self._wake, 1)

    def has_changed(self) -> bool:
        """Are the settings of the last call of :meth:`begin_change` in force? Never waits.

        Raises like :meth:`wait_until_open` when they cannot be had; the old ones go on then.
        """
        try:
            error = self._answers.get_nowait()
        except queue.Empty:
            return False
        if error is not None:
            raise error
        return True

    def change_level(self, level: str) -> None:
        """Of the log."""
        self._config = self._config.model_copy(update={"log_level": level})
        self._control(Kind.LEVEL, level)

    def write_line(self, text: str) -> bool:
        """Show a line on standard error beside a live table; False while there is none."""
        if self._tallies.is_up:
            self._control(Kind.LOG, text)
        return self._tallies.is_up

    def stop(self) -> None:
        """The last call: deliver what is queued, for a few seconds."""
        self._orders.put(None)
        os.eventfd_write(self._wake, 1)
        self._thread.join(self._stop_seconds + STOP_SECONDS)
        with self._lock:
            left = self._waiting.count_after(self._handed_on)
        if left:
            _log.warning("%d intervals were not delivered to every sink", left)

    @property
    def _stop_seconds(self) -> float:
        return SINK_STOP_SECONDS * len(set(self._config.sinks)) + MARGIN_SECONDS

    @property
    def _handed_on(self) -> int:
        """The number of the last interval that every sink has had."""
        return min(self._tallies.report.handed_on.values(), default=0)

    def _control(self, kind: Kind, text: str) -> None:
        with self._lock:
            self._controls.append((kind, text.encode()))
        os.eventfd_write(self._wake, 1)

    # From here on, all belongs to the thread.

    def _run(self) -> None:
        try:
            self._follow_orders()
        except Exception as error:  # noqa: BLE001  it is told; nfszbx ends, and a service begins anew
            self._is_broken, self._tallies.is_up = True, False
            _log.exception("the process of the sinks is looked after no more")
            if self._connection is not None:
                self._connection.close()
            self._answers.put(SinkStartError(f"internal error: {error}"))

    def _follow_orders(self) -> None:
        while True:
            if not self._orders.empty():
                config = self._orders.get()
                if config is None:
                    break
                self._answers.put(self._change_to(config))
            elif self._connection is not None:
                self._serve(self._connection)
            elif monotonic_seconds() < self._start_at:
                self._wait(self._start_at - monotonic_seconds())
            else:
                self._start_again()
        self._finish()
        with self._lock:
            is_needed = self._started_at > 0 and not self.are_gone and self._waiting.unsent > 0
        if is_needed and self._start(self._config) is None:  # the last chance
            self._finish()

    def _change_to(self, config: Config) -> NfszbxError | None:
        """The error that has left the old settings in force."""
        self._finish()
        error = self._start(config)
        if error is None:
            self._config = config
        elif self._started_at:  # with the old ones again
            self._start_at = 0.0
        return error

    def _start_again(self) -> None:
        error = self._start(self._config)
        if error is None:
            _log.log(min(self._level, logging.INFO), "the process of the sinks works again")
            self._problem = ""
        else:
            if str(error) != self._problem:
                self._problem = str(error)
                _log.error("the process of the sinks cannot begin: %s", error)
            self._set_back_off()

    def _start(self, config: Config) -> NfszbxError | None:
        """Wait until it is ready; why it cannot be."""
        try:
            connection = SinksConnection(self._account, self._wake)
        except OSError as problem:
            return SinkStartError(f"the process of the sinks cannot be started: {problem}")
        with self._lock:
            begin = Begin(
                config=config.model_dump_json(exclude={"zabbix": {"api"}}),
                folder=str(self._state.path / NAME),
                user=self._account,
                handed_on=self._tallies.report.handed_on,
                done=self._waiting.done,
                waiting=self._waiting.list_ends(),
            )
            self._controls.clear()
        connection.send(Kind.BEGIN, begin.encode())
        deadline = monotonic_seconds() + START_SECONDS
        error: NfszbxError | None = None
        try:
            while not connection.has_ended and self._orders.empty():
                if monotonic_seconds() > deadline:
                    break
                for frame in connection.exchange(_TURN_SECONDS):
                    if frame.kind is Kind.READY:
                        self._note_start(connection)
                        return None
                    error = _read_refusal(frame)
        except MessageError as fault:
            error = SinkStartError(f"the process of the sinks has sent {fault}")
        ended = connection.close(1.0)
        return error or SinkStartError(f"the process of the sinks was not ready: {ended}")

    def _note_start(self, connection: SinksConnection) -> None:
        with self._lock:
            self._connection = connection
            self._tallies.begin()
        self._silent_seconds = 0.0
        self._started_at = monotonic_seconds()
        _log.debug("the sinks have the process %d", connection.pid)

    def _serve(self, connection: SinksConnection) -> None:
        """One turn: what is new goes out, what has come is taken."""
        self._send_next(connection)
        before = monotonic_seconds()
        try:
            is_alive = self._take_all(connection)
        except MessageError as error:
            self._note_end(connection, f"it has sent {error}")
            return
        # Not more than a turn: this process, or the machine, may have been asleep.
        waited = min(monotonic_seconds() - before, _TURN_SECONDS)
        self._silent_seconds = 0.0 if is_alive else self._silent_seconds + waited
        if connection.has_ended:
            self._note_end(connection, "it has ended")
        elif self._silent_seconds > SILENT_SECONDS:
            self._note_end(connection, f"no sign of life for {SILENT_SECONDS:.0f} s")

    def _send_next(self, connection: SinksConnection) -> bool:
        """False when nothing waits any more."""
        if not connection.is_all_sent:
            return True
        with self._lock:
            controls = list(self._controls)
            self._controls.clear()
            interval = self._waiting.take_next()
        for kind, body in controls:
            connection.send(kind, body)
        if interval is not None:
            connection.send(Kind.INTERVAL, interval.body)
        return bool(controls) or interval is not None

    def _take_all(self, connection: SinksConnection) -> bool:
        """Has anything come? Raises :class:`MessageError`."""
        has_come = False
        for frame in connection.exchange(_TURN_SECONDS):
            has_come = True
            if frame.kind is not Kind.REPORT:
                raise MessageError(f"a message of the kind {frame.kind.name}")
            report = parse_report(frame.body)
            with self._lock:
                self._tallies.take(report)
                self._waiting.note(self._handed_on, report.done)
        return has_come

    def _finish(self) -> None:
        """Let it deliver what waits, and end."""
        connection = self._connection
        if connection is None:
            return
        deadline = monotonic_seconds() + self._stop_seconds
        is_told = False
        with suppress(MessageError):
            while not connection.has_ended and monotonic_seconds() < deadline:
                if not is_told and not self._send_next(connection):
                    connection.send(Kind.STOP)
                    is_told = True
                self._take_all(connection)
        self._forget(connection)

    def _note_end(self, connection: SinksConnection, why: str) -> None:
        ended = self._forget(connection)
        if self.are_gone:
            self._start_at = math.inf
            return
        self._restarts += 1
        if monotonic_seconds() > self._started_at + WELL_SECONDS:
            self._back_off = FIRST_BACK_OFF_SECONDS
        text = "the process of the sinks: %s (%s); starting again in %.0f s"
        _log.log(self._level, text, why, ended, self._back_off)
        self._set_back_off()

    def _forget(self, connection: SinksConnection) -> str:
        """How it has ended, for people."""
        ended = connection.close(0.5 if connection.has_ended else 0.0)
        with self._lock:
            self._connection = None
            self._tallies.end()
            self._waiting.begin_again()
            lines = [body.decode() for kind, body in self._controls if kind is Kind.LOG]
        sys.stderr.write("".join(lines))
        return ended

    @property
    def _level(self) -> int:
        """Of what is told of an end; when it ends again and again, that is known."""
        is_known = self._back_off >= MAX_BACK_OFF_SECONDS
        return logging.DEBUG if is_known else logging.WARNING

    def _set_back_off(self) -> None:
        self._start_at = monotonic_seconds() + self._back_off
        self._back_off = min(2 * self._back_off, MAX_BACK_OFF_SECONDS)

    def _wait(self, seconds: float) -> None:
        """Or until there is an order."""
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        if poll.poll(min(seconds, MAX_BACK_OFF_SECONDS) * 1000):
            os.eventfd_read(self._wake)


def _read_refusal(frame: Frame) -> NfszbxError:
    """The error as it was raised there. Raises :class:`MessageError`."""
    if frame.kind is not Kind.ERROR:
        raise MessageError(f"a message of the kind {frame.kind.name}")
    refusal = parse_refusal(frame.body)
    kind = _ERRORS.get(refusal.exit_code, SinkStartError)
    return kind(refusal.message, refusal.hint)

"""Keeps one bpftrace running: notices every kind of end, and starts again with back-off."""

import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

from nfszbx.child.crash_loop import LOOP_SECONDS, CrashLoop, LoopNews
from nfszbx.child.process import ChildProcess
from nfszbx.child.states import ChildEvent, ChildLife, ChildState, EndReason
from nfszbx.clock import monotonic_seconds
from nfszbx.errors import BpftraceError

START_TIMEOUT_SECONDS = 180.0
"""bpftrace compiles and attaches in 1 to 3 s. Where processors are emulated or overcommitted, 0.17
takes 20 to 40 s when a probe's function is a module's; several at once take as often as long."""
SILENT_INTERVALS = 3
RENEWAL_SECONDS = 600.0
"""Between two times that a bpftrace is replaced for its map or its memory."""
STOP_TIMEOUT_SECONDS = 5.0
MAX_FAILURES_AT_FIRST = 5
"""Starts that fail one after the other, before any child ever delivered a dump: it cannot work."""
MAX_OUTPUT_BYTES, MAX_OUTPUT_BYTES_PER_ENTRY = 16 << 20, 256
"""Without a usable dump among them. An entry of a map takes at most 73 bytes of a dump."""
MAX_OUTPUT_LINES = 10_000
"""The same; a dump has seven, and reports of losses."""
_HELPER_ERROR = '{"type": "helper_error",'
"""A line of bpftrace's for each update that a full map refuses: no dump has room for them."""
_LINE_END_BYTES = 2  # of a terminal
_READ_TIMEOUT_SECONDS = 0.25  # how soon a request to stop is noticed
_PAUSE_SECONDS = 1.0
"""Between two looks at a silent child; more, and nfszbx itself stood still or had much to do."""


@dataclass(frozen=True)
class Line:
    """A line on the child's standard output."""

    text: str


@dataclass(frozen=True)
class Notice:
    """A line on the child's standard error."""

    text: str


@dataclass(frozen=True)
class Ended:
    """The child is gone; the next one starts after the back-off."""

    reason: EndReason
    detail: str
    back_off_seconds: float
    news: LoopNews
    ends: int
    """In this crash loop, if it is one."""

    def describe(self) -> str:
        """What happened, and what follows."""
        ended = f"bpftrace ended ({self.reason}): {self.detail}; "
        again = f"starting again in {self.back_off_seconds:.0f} s"
        match self.news:
            case LoopNews.BEGINS:
                times = f"the end number {self.ends} within {LOOP_SECONDS / 60:.0f} minutes"
                return f"{ended}{times}, a crash loop: starting again more and more slowly"
            case LoopNews.REMINDER:
                return f"{ended}the crash loop goes on, {self.ends} ends so far; {again}"
        return ended + again


@dataclass(frozen=True)
class LoopOver:
    """A crash loop is over: one child has delivered for long enough."""

    ends: int


Event = Line | Notice | Ended | LoopOver


class Supervisor:
    """At most one child at a time. All methods belong to one thread, the program's main one."""

    def __init__(
        self,
        start: Callable[[], ChildProcess],
        interval_seconds: int,
        map_max_entries: int = 0,
        start_timeout_seconds: float = START_TIMEOUT_SECONDS,
    ) -> None:
        """``map_max_entries`` is what the script's maps hold, for what a dump may be long."""
        self._start = start
        self._start_timeout_seconds = start_timeout_seconds
        self.change_limits(interval_seconds, map_max_entries)
        self._process: ChildProcess | None = None
        self._life = ChildLife()
        self._loop = CrashLoop()
        self._has_delivered = False
        """Any child, ever."""
        self._used_bytes = 0
        """Of the child's output, up to its last usable dump."""
        self._unused_lines = 0
        """Since then."""
        self._deadline = 0.0
        self._looked_at = 0.0
        self._start_at = 0.0

    @property
    def pid(self) -> int | None:
        """The process id of the child, while there is one."""
        return self._process.pid if self._process else None

    @property
    def state(self) -> ChildState:
        """Of the child."""
        return self._life.state

    @property
    def delivers(self) -> bool:
        """Is there a child that has delivered a dump?"""
        return self._life.has_delivered

    @property
    def is_crash_loop(self) -> bool:
        """Do children end again and again?"""
        return self._loop.is_active

    @property
    def has_delivered(self) -> bool:
        """Has any child ever delivered a dump?"""
        return self._has_delivered

    def change_limits(self, interval_seconds: int, map_max_entries: int) -> None:
        """Those of the child; call it while there is none, or when it has just been taken over."""
        self._silence_seconds = float(SILENT_INTERVALS * interval_seconds)
        self._max_output_bytes = MAX_OUTPUT_BYTES + MAX_OUTPUT_BYTES_PER_ENTRY * map_max_entries

    def note_dump(self) -> LoopOver | None:
        """A usable dump has come: the child is well, and its next failure is a first one."""
        now = monotonic_seconds()
        self._life.take(ChildEvent.DUMP)
        self._has_delivered = True
        self._deadline = now + self._silence_seconds
        self._used_bytes = self._process.read_bytes if self._process else 0
        self._unused_lines = 0
        return LoopOver(self._loop.ends) if self._loop.note_dump(now) else None

    def inherit(self, other: Self) -> None:
        """Go on for another one whose child this one's has replaced: its history is ours."""
        self._loop, self._has_delivered = other._loop, other._has_delivered
        self._start_timeout_seconds = other._start_timeout_seconds

    def poll(self, wait_seconds: float = _READ_TIMEOUT_SECONDS) -> Iterator[Event]:
        """What has happened; waits so long when nothing has.

        Raises :class:`BpftraceError` when no child has ever worked and none is likely to.
        """
        now = monotonic_seconds()
        if self._process is None:
            if now < self._start_at:
                time.sleep(min(wait_seconds, self._start_at - now))
                return
            try:
                self._process = self._start()
            except BpftraceError as error:
                yield self._end(EndReason.NOT_STARTED, str(error))
                return
            self._life.take(ChildEvent.STARTED)
            self._used_bytes = self._unused_lines = 0
            self._deadline = now + self._start_timeout_seconds + self._silence_seconds
            self._looked_at = now
        read_before = self._process.read_bytes
        yield from self._read(self._process, wait_seconds)
        is_quiet = self._process.read_bytes == read_before
        # After a pause of nfszbx itself what is missed may wait to be read, or the child stood
        # still as well and goes on only now: a stopped virtual machine.
        now = monotonic_seconds()
        if now - self._looked_at > _PAUSE_SECONDS:
            self._deadline += now - self._looked_at
        self._looked_at = now
        overdue_seconds = now - self._deadline
        if self._process.ended:
            reason = EndReason.KILLED if self._process.was_killed else EndReason.EXITED
            yield self._end(reason, _describe(self._process))
        elif self._is_flooding(self._process):
            count = self._process.read_bytes - self._used_bytes
            detail = (
                f"{count:,} bytes in {self._unused_lines:,} lines without a usable dump; killed"
            )
            yield self._end(EndReason.FLOODING, detail)
        elif overdue_seconds > (0 if is_quiet else self._silence_seconds):
            reason = EndReason.SILENT if self.delivers else EndReason.START_TIMEOUT
            yield self._end(reason, "no dump in time; killed")

    def stop(self) -> Iterator[Event]:
        """Ask the child to end and read what it has to say last; kill it if it takes too long."""
        process = self._process
        if process is None:
            return
        self._life.take(ChildEvent.STOP)
        process.send_signal(signal.SIGTERM)
        deadline = monotonic_seconds() + STOP_TIMEOUT_SECONDS
        while not (process.ended or self._is_flooding(process)) and monotonic_seconds() < deadline:
            yield from self._read(process, _READ_TIMEOUT_SECONDS)
        self.kill()
        self._life.take(ChildEvent.STOPPED)

    def kill(self) -> None:
        """Leave no child behind, whatever the state; with :meth:`stop` before, or as the end."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def _is_flooding(self, process: ChildProcess) -> bool:
        unused_bytes = process.read_bytes - self._used_bytes
        return unused_bytes > self._max_output_bytes or self._unused_lines > MAX_OUTPUT_LINES

    def _read(self, process: ChildProcess, wait_seconds: float) -> Iterator[Event]:
        for text in process.read_lines(wait_seconds):
            if text.startswith(_HELPER_ERROR):
                self._used_bytes += len(text) + _LINE_END_BYTES
                continue
            self._unused_lines += 1
            yield Line(text)
        for text in process.read_stderr_lines():
            yield Notice(text)

    def _end(self, reason: EndReason, detail: str) -> Ended:
        """Forget the child and set the back-off."""
        self.kill()
        self._life.take(reason)
        now = monotonic_seconds()
        news = self._loop.note_end(now)
        failures = self._loop.ends_since_dump
        if failures == MAX_FAILURES_AT_FIRST and not self._has_delivered:
            raise BpftraceError(
                f"bpftrace has failed {failures} times without a single dump: {detail}",
                "nfszbx script prints what it was given; try: nfszbx script > x.bt; bpftrace x.bt",
            )
        self._start_at = now + self._loop.back_off_seconds
        return Ended(reason, detail, self._loop.back_off_seconds, news, self._loop.ends)


def _describe(process: ChildProcess) -> str:
    errors = [line for line in process.last_words if "ERROR" in line and "RLIMIT" not in line]
    return ": ".join([process.describe_end(), *errors[-1:]])

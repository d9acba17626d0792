"""Keeps one bpftrace running: notices every kind of end, and starts again with back-off."""

import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from nfszbx.child.process import ChildProcess
from nfszbx.clock import monotonic_seconds
from nfszbx.errors import BpftraceError

START_TIMEOUT_SECONDS = 180.0
"""bpftrace compiles and attaches in 1 to 3 s. Where processors are emulated or overcommitted, 0.17
takes 20 to 40 s when a probe's function is a module's; several at once take as often as long."""
SILENT_INTERVALS = 3
STOP_TIMEOUT_SECONDS = 5.0
MAX_BACK_OFF_SECONDS = 60.0
MAX_FAILURES_AT_FIRST = 5
"""Starts that fail one after the other, before any child ever delivered a dump: it cannot work."""
_READ_TIMEOUT_SECONDS = 0.25  # how soon a request to stop is noticed


class EndReason(StrEnum):
    """Why a child ended that nobody had asked to end."""

    EXITED = "exited"
    KILLED = "killed"
    SILENT = "silent"
    START_TIMEOUT = "start_timeout"
    NOT_STARTED = "not_started"


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


Event = Line | Notice | Ended


class Supervisor:
    """At most one child at a time. All methods belong to one thread, the program's main one."""

    def __init__(self, start: Callable[[], ChildProcess], interval_seconds: int) -> None:
        self._start = start
        self._silence_seconds = float(SILENT_INTERVALS * interval_seconds)
        self._process: ChildProcess | None = None
        self._delivers = False
        self._has_delivered = False
        self._deadline = 0.0
        self._start_at = 0.0
        self._failures = 0

    @property
    def pid(self) -> int | None:
        """The process id of the child, while there is one."""
        return self._process.pid if self._process else None

    @property
    def delivers(self) -> bool:
        """Is there a child that has delivered a dump?"""
        return self._process is not None and self._delivers

    def note_dump(self) -> None:
        """A usable dump has come: the child is well, and its next failure is a first one."""
        self._delivers = self._has_delivered = True
        self._failures = 0
        self._deadline = monotonic_seconds() + self._silence_seconds

    def poll(self) -> Iterator[Event]:
        """What has happened; waits a fraction of a second when nothing has.

        Raises :class:`BpftraceError` when no child has ever worked and none is likely to.
        """
        now = monotonic_seconds()
        if self._process is None:
            if now < self._start_at:
                time.sleep(min(_READ_TIMEOUT_SECONDS, self._start_at - now))
                return
            try:
                self._process = self._start()
            except BpftraceError as error:
                yield self._end(EndReason.NOT_STARTED, str(error))
                return
            self._delivers = False
            self._deadline = now + START_TIMEOUT_SECONDS + self._silence_seconds
        is_quiet = True
        for event in self._read(self._process):
            is_quiet = False
            yield event
        # What waits to be read may be the dump that is missed: after a pause of nfszbx itself.
        overdue_seconds = monotonic_seconds() - self._deadline
        if self._process.ended:
            reason = EndReason.KILLED if self._process.was_killed else EndReason.EXITED
            yield self._end(reason, _describe(self._process))
        elif overdue_seconds > (0 if is_quiet else self._silence_seconds):
            reason = EndReason.SILENT if self._delivers else EndReason.START_TIMEOUT
            yield self._end(reason, "no dump in time; killed")

    def stop(self) -> Iterator[Event]:
        """Ask the child to end and read what it has to say last; kill it if it takes too long."""
        process = self._process
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        deadline = monotonic_seconds() + STOP_TIMEOUT_SECONDS
        while not process.ended and monotonic_seconds() < deadline:
            yield from self._read(process)
        self.kill()

    def kill(self) -> None:
        """Leave no child behind, whatever the state."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def _read(self, process: ChildProcess) -> Iterator[Event]:
        for text in process.read_lines(_READ_TIMEOUT_SECONDS):
            yield Line(text)
        for text in process.read_stderr_lines():
            yield Notice(text)

    def _end(self, reason: EndReason, detail: str) -> Ended:
        """Forget the child and set the back-off: none after one that was well, then 1, 2, 4 s."""
        self.kill()
        back_off = min(MAX_BACK_OFF_SECONDS, 2.0 ** (self._failures - 1)) if self._failures else 0.0
        self._failures += 1
        if self._failures == MAX_FAILURES_AT_FIRST and not self._has_delivered:
            raise BpftraceError(
                f"bpftrace has failed {self._failures} times without a single dump: {detail}",
                "nfszbx script prints what it was given; try: nfszbx script > x.bt; bpftrace x.bt",
            )
        self._start_at = monotonic_seconds() + back_off
        return Ended(reason, detail, back_off)


def _describe(process: ChildProcess) -> str:
    errors = [line for line in process.last_words if "ERROR" in line and "RLIMIT" not in line]
    return ": ".join([process.describe_end(), *errors[-1:]])

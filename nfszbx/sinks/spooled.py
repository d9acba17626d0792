"""Delivers what a spool holds: to each target in a thread of its own, the newest entries first.

A target is a server that takes entries. One that is down, slow or refuses holds neither the others
nor the measuring; it gets everything later, at a bounded rate, for as long as the spool keeps it.
After a disconnect, what it took in the last minutes is sent again: a server may lose that.
"""

import functools
import logging
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from nfszbx.clock import monotonic_seconds
from nfszbx.errors import SinkUnavailableError
from nfszbx.health import SinkHealth
from nfszbx.samples import Samples
from nfszbx.sinks.states import TRANSITIONS, SinkEvent, SinkState
from nfszbx.sinks.worker import is_too_much
from nfszbx.spool import Spool
from nfszbx.spool_store import Entry, Waiting

LIVE_ENTRIES = 20
BACKLOG_ENTRIES, BACKLOG_BYTES = 200, 1_000_000
"""What is sent of the backlog at a time."""
BACKLOG_PAUSE_SECONDS = 0.5
FIRST_BACK_OFF_SECONDS, MAX_BACK_OFF_SECONDS = 1.0, 30.0
REFUSED_SECONDS = 30.0
"""How long a refused topic rests; Zabbix learns of new items within a minute."""
LAST_DISK_SECONDS = 2.0
"""What a disk that hangs may take at the end."""
PROBE_SECONDS = 3.0
"""A server that crashes has lost what it had not stored; only a failing connection tells of it."""

_log = logging.getLogger(__name__)


class Target(Protocol):
    """A server that takes entries."""

    name: str
    """The consumer's name in the spool, and in metrics and messages."""
    answered_by: str
    """Which of its nodes has answered last; empty before the first answer."""

    def send(self, entries: Sequence[Entry]) -> int:
        """How many were refused. Raises :class:`SinkUnavailableError` when it did not answer."""

    def probe(self) -> None:
        """Raises :class:`SinkUnavailableError` when it does not answer."""

    def explain_refusal(self, topic: str) -> str:
        """What may be the cause when it refuses entries of a topic."""


class Documents(Protocol):
    """Makes entries of intervals."""

    def make_entries(self, samples: Samples) -> Sequence[Entry]:
        """What is to be sent of it."""

    def keep(self, samples: Samples) -> int:
        """These entries are in the spool: what they lead to may be kept now.

        The number of the last interval of which nothing is in memory only.
        """

    def close(self) -> None:
        """The last call."""


class TargetWorker:
    """One target and its thread."""

    def __init__(self, target: Target, spool: Spool) -> None:
        self._target = target
        self._spool = spool
        self._changed = threading.Condition()
        self._stopping = self._has_news = False
        self._live_id = 0
        """The last entry that was sent as a new one; those before it that wait are the backlog."""
        self._next_backlog_at = self._next_probe_at = 0.0
        self._resting: dict[str, float] = {}
        """Topics that were refused, and when to try again."""
        self._refused: set[str] = set()
        self._accepted: set[str] = set()
        """Topics, by what became of them last."""
        self._failure = ""
        self._is_down = False
        self._state = SinkState.STARTING
        self._answered_by = ""
        self._taken = self._errors = 0
        if waiting := spool.count_waiting(target.name):
            _log.info("%s: %d values of an earlier run follow, some again", target.name, waiting)
        self._thread = threading.Thread(target=self._run, name=target.name, daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """There is something new in the spool."""
        with self._changed:
            self._has_news = True
            self._changed.notify()

    def health(self) -> SinkHealth:
        """The tallies now, in entries."""
        name = self._target.name
        waiting, dropped = self._spool.count_waiting(name), self._spool.count_dropped(name)
        with self._changed:
            return SinkHealth(name, waiting, self._taken, dropped, self._errors, self._state)

    def request_stop(self) -> None:
        """Take what is new, and end; the rest stays in the spool."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def wait_for_end(self, deadline: float) -> None:
        """Until then on the monotonic clock."""
        self._thread.join(max(0.0, deadline - monotonic_seconds()))
        if waiting := self.health().queue_length:
            _log.info("%s: %d values wait in the spool", self._target.name, waiting)

    def _run(self) -> None:
        back_off = FIRST_BACK_OFF_SECONDS
        while True:
            is_down = False
            try:
                pause = self._send_some()
                back_off = FIRST_BACK_OFF_SECONDS
            except SinkUnavailableError as error:
                is_down = True
                self._note_down(str(error))
                pause, back_off = back_off, min(back_off * 2, MAX_BACK_OFF_SECONDS)
            except Exception:  # noqa: BLE001  a fault of the target must not end its thread
                is_down = True
                _log.exception("%s failed", self._target.name)
                self._go(SinkEvent.UNAVAILABLE)
                pause = MAX_BACK_OFF_SECONDS
            with self._changed:
                if self._stopping and (is_down or not self._has_news):
                    return
                if is_down:  # what is new does not shorten its pause
                    self._changed.wait_for(lambda: self._stopping, pause)
                else:
                    self._changed.wait_for(lambda: self._stopping or self._has_news, pause)
                self._has_news = False

    def _send_some(self) -> float:
        """Send what is new, or else a part of the rest. When to go on: in so many seconds."""
        now = monotonic_seconds()
        self._resting = {topic: until for topic, until in self._resting.items() if until > now}
        find = functools.partial(
            self._spool.find_waiting, self._target.name, without_topics=self._resting
        )
        if live := find(LIVE_ENTRIES, after_id=self._live_id, newest=True):
            self._live_id = live[-1].id
            self._deliver(live)
            return 0.0
        if now < self._next_backlog_at:
            return self._next_backlog_at - now
        if backlog := _cut(find(BACKLOG_ENTRIES)):
            self._next_backlog_at = now + BACKLOG_PAUSE_SECONDS
            self._deliver(backlog)
            return BACKLOG_PAUSE_SECONDS
        if now >= self._next_probe_at:
            self._target.probe()
            self._note_up()
        return min([PROBE_SECONDS, *(until - now for until in self._resting.values())])

    def _deliver(self, waiting: Sequence[Waiting]) -> None:
        refused = self._target.send([w.entry for w in waiting])
        self._note_up()
        topics = {w.entry.topic for w in waiting}
        if refused and len(topics) > 1:  # find out which
            for topic in sorted(topics):
                self._deliver([w for w in waiting if w.entry.topic == topic])
        elif refused:
            self._note_refused(topics.pop())
        else:
            self._note_taken([w.id for w in waiting], topics)

    def _go(self, event: SinkEvent) -> None:
        with self._changed:
            self._state = TRANSITIONS[self._state, event]

    def _note_up(self) -> None:
        """It has answered. Another node than before does not have what that one lost."""
        self._go(SinkEvent.REFUSED if self._refused else SinkEvent.TAKEN)
        self._next_probe_at = monotonic_seconds() + PROBE_SECONDS
        if self._failure:
            _log.info("%s works again", self._target.name)
        self._is_down, self._failure = False, ""
        answered_by = self._target.answered_by
        if self._answered_by not in {"", answered_by}:
            _log.info("%s: now %s answers", self._target.name, answered_by)
            self._spool.put_back(self._target.name)
        self._answered_by = answered_by

    def _note_down(self, message: str) -> None:
        """Count it; log it when it is not the same as the one before.

        What it has taken lately waits again, from now on: it may be away for long.
        """
        if not self._is_down:
            self._is_down = True
            self._spool.put_back(self._target.name)
        self._go(SinkEvent.UNAVAILABLE)
        if message != self._failure:
            self._failure = message
            _log.warning("%s: %s; values wait in the spool", self._target.name, message)
        with self._changed:
            self._errors += 1

    def _note_taken(self, ids: Sequence[int], topics: set[str]) -> None:
        self._spool.note_taken(self._target.name, ids)
        for topic in topics - self._accepted:
            _log.info("%s takes %s", self._target.name, topic)
        self._accepted |= topics
        self._refused -= topics
        self._go(SinkEvent.REFUSED if self._refused else SinkEvent.TAKEN)
        with self._changed:
            self._taken += len(ids)

    def _note_refused(self, topic: str) -> None:
        self._resting[topic] = monotonic_seconds() + REFUSED_SECONDS
        self._accepted.discard(topic)
        self._go(SinkEvent.REFUSED)
        if topic not in self._refused:
            self._refused.add(topic)
            cause = self._target.explain_refusal(topic)
            _log.warning(
                "%s refuses %s, which waits in the spool: %s", self._target.name, topic, cause
            )
        with self._changed:
            self._errors += 1


class SpooledSink:
    """Writes samples to the spool, in a thread of its own, and wakes the targets."""

    def __init__(
        self, documents: Documents, spool: Spool, targets: Sequence[Target], handed_on: int = 0
    ) -> None:
        """``handed_on`` is the number of the last interval that the spool has already."""
        self.is_gone = False
        self.handed_on, self.done = handed_on, 0
        """Numbers of intervals: of the last one in the spool, and what is kept of documents."""
        self._documents = documents
        self._spool = spool
        self._names = ", ".join(target.name for target in targets)
        self._targets = [TargetWorker(target, spool) for target in targets]
        self._queue: deque[Samples] = deque()
        self._unwritten = 0
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)
        self._thread.start()

    @property
    def is_on_disk(self) -> bool:
        """False while values wait in memory because the disk fails."""
        return self._spool.is_on_disk

    def put(self, samples: Samples) -> None:
        """Queue the samples; never waits."""
        with self._changed:
            while self._queue and is_too_much(self._queue, samples):
                self._queue.popleft()
                self._unwritten += 1
            self._queue.append(samples)
            self._changed.notify()

    def healths(self) -> list[SinkHealth]:
        """The tallies of every target."""
        tallies = [target.health() for target in self._targets]
        return [replace(tally, dropped=tally.dropped + self._unwritten) for tally in tallies]

    def stop(self, timeout_seconds: float) -> None:
        """Write what is queued, let the targets take what is new, all within that time."""
        deadline = monotonic_seconds() + timeout_seconds
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(timeout_seconds)
        for target in self._targets:
            target.request_stop()
        for target in self._targets:
            target.wait_for_end(deadline)
        self._spool.close(LAST_DISK_SECONDS)
        if not self._thread.is_alive():
            self._documents.close()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._stopping)
                if not self._queue:
                    return
                samples = self._queue.popleft()
            try:
                self._spool.append(self._documents.make_entries(samples))
                self.done = self._documents.keep(samples)
            except Exception:  # noqa: BLE001  a fault here must not end the thread
                _log.exception("an interval could not be kept for %s", self._names)
                self._unwritten += 1
            self.handed_on = max(self.handed_on, samples.number)
            for target in self._targets:
                target.wake()


def _cut(waiting: Sequence[Waiting]) -> Sequence[Waiting]:
    """As many of them as are small enough to be sent at once; one at least."""
    size = 0
    for count, found in enumerate(waiting):
        size += len(found.entry.text)
        if size > BACKLOG_BYTES and count:
            return waiting[:count]
    return waiting

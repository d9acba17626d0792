"""Runs a sink in a thread behind a bounded queue, so that it can delay nobody but itself."""

import logging
import threading
from collections import deque
from collections.abc import Iterable

from nfszbx.errors import SinkGoneError, SinkRefusedError, SinkUnavailableError
from nfszbx.health import SinkHealth
from nfszbx.samples import Samples
from nfszbx.sinks.base import Sink
from nfszbx.sinks.states import TRANSITIONS, SinkEvent, SinkState

QUEUE_INTERVALS = 360
"""An hour of ten-second intervals; the oldest is dropped when one more comes.

The one that is being delivered stays, since nobody knows yet whether the sink takes it.
"""
QUEUE_SAMPLES = 200_000
"""The other bound, on memory: some 50 MB. With 500 clients it is reached after 100 intervals.

The bytes of clients without a row, which an interval also has, count as samples.
"""
FIRST_BACK_OFF_SECONDS = 1.0
MAX_BACK_OFF_SECONDS = 30.0

_log = logging.getLogger(__name__)


def is_too_much(queue: Iterable[Samples], samples: Samples) -> bool:
    """Are those that wait, with one more, more than may wait?"""
    sizes = [
        len(each.samples) + sum(map(len, each.client_bytes.values())) + len(each.operations or ())
        for each in (*queue, samples)
    ]
    return len(sizes) > QUEUE_INTERVALS or sum(sizes) > QUEUE_SAMPLES


class SinkWorker:
    """One sink, its queue and its tallies."""

    def __init__(self, sink: Sink, handed_on: int = 0) -> None:
        """``handed_on`` is the number of the last interval that the sink has had already."""
        self._sink = sink
        self.state = SinkState.STARTING
        self._queue: deque[Samples] = deque()
        self._changed = threading.Condition()
        self._is_delivering = False
        """The first of the queue is with the sink: only what comes of that tells how it counts."""
        self._stopping = False
        self._failure = ""
        self._delivered = self._dropped = self._errors = 0
        self.handed_on = handed_on
        """The number of the last interval that has left the queue."""
        self._thread = threading.Thread(target=self._run, name=f"sink-{sink.name}", daemon=True)
        self._thread.start()

    @property
    def is_gone(self) -> bool:
        """The sink has been given up; what is put here now is dropped."""
        return self.state is SinkState.GONE

    @property
    def is_on_disk(self) -> bool:
        """The file of counters is a sink, too; of the others nothing has to be."""
        return self.state not in {SinkState.REFUSING, SinkState.BACKING_OFF}

    @property
    def done(self) -> int:
        """The same: nothing is made of several intervals."""
        return self.handed_on

    def put(self, samples: Samples) -> None:
        """Queue the samples; never waits."""
        with self._changed:
            if 0 < samples.number <= self.handed_on:
                return
            if self.is_gone:
                self._dropped += 1
                self.handed_on = samples.number
                return
            while len(self._queue) > self._is_delivering and is_too_much(self._queue, samples):
                if not self._is_delivering:
                    self.handed_on = self._queue[0].number
                del self._queue[self._is_delivering]
                self._dropped += 1
            self._queue.append(samples)
            self._changed.notify()

    def health(self) -> SinkHealth:
        """The tallies now."""
        with self._changed:
            return SinkHealth(
                self._sink.name,
                len(self._queue),
                self._delivered,
                self._dropped,
                self._errors,
                self.state,
            )

    def healths(self) -> list[SinkHealth]:
        """The same, as of one sink."""
        return [self.health()]

    def stop(self, timeout_seconds: float) -> None:
        """Give the sink so long to take what is queued, then end. What is left is reported."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(timeout_seconds)
        left = self.health().queue_length
        if left:
            _log.warning("sink %s: %d intervals were not delivered", self._sink.name, left)
        if not self._thread.is_alive():
            try:
                self._sink.close()
            except Exception:  # noqa: BLE001  the other sinks are to be stopped, too
                _log.exception("sink %s failed to close", self._sink.name)

    def _run(self) -> None:
        back_off = FIRST_BACK_OFF_SECONDS
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._stopping)
                if not self._queue:
                    return
                samples = self._queue[0]
                self._is_delivering = True
            try:
                self._sink.deliver(samples)
            except SinkUnavailableError as error:
                self._note_failure(f"{error}; will try again", SinkEvent.UNAVAILABLE)
                with self._changed:
                    if self._changed.wait_for(lambda: self._stopping, back_off):
                        return
                back_off = min(back_off * 2, MAX_BACK_OFF_SECONDS)
                continue
            except SinkRefusedError as error:
                self._note_failure(str(error), SinkEvent.REFUSED)
            except SinkGoneError as error:
                self._note_failure(str(error), SinkEvent.GONE)
                return
            except Exception:  # noqa: BLE001  a fault of the sink must not take the measuring down
                _log.exception("sink %s failed", self._sink.name)
                self._note_failure("internal error", SinkEvent.REFUSED)
            else:
                self._note_success()
            back_off = FIRST_BACK_OFF_SECONDS

    def _note_success(self) -> None:
        if self._failure:
            _log.info("sink %s works again", self._sink.name)
        with self._changed:
            self._failure = ""
            self.state = TRANSITIONS[self.state, SinkEvent.TAKEN]
            self._is_delivering = False
            self._delivered += 1
            self.handed_on = self._queue.popleft().number

    def _note_failure(self, message: str, event: SinkEvent) -> None:
        """Count the failure; log it when it is not the same as the one before."""
        if message != self._failure:
            _log.warning("sink %s: %s", self._sink.name, message)
        with self._changed:
            self._failure = message
            self._errors += 1
            self.state = TRANSITIONS[self.state, event]
            self._is_delivering = False
            if event is SinkEvent.REFUSED:
                self._dropped += 1
                self.handed_on = self._queue.popleft().number
            elif event is SinkEvent.GONE:
                self._dropped += len(self._queue)
                self.handed_on = self._queue[-1].number
                self._queue.clear()

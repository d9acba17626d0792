"""A sink that is slow, down, refusing or broken delays and harms nobody but itself."""

import logging
import threading
import time
from collections.abc import Callable

import pytest

from nfszbx import catalog
from nfszbx.errors import SinkGoneError, SinkRefusedError, SinkUnavailableError
from nfszbx.samples import Sample, Samples
from nfszbx.sinks import worker as worker_module
from nfszbx.sinks.states import SinkState
from nfszbx.sinks.worker import SinkWorker

WAIT_SECONDS = 10.0


class FakeSink:
    """Does to each delivery what it is told; afterwards it just takes them."""

    name = "fake"

    def __init__(self, *faults: Exception) -> None:
        self.faults = list(faults)
        self.taken: list[float] = []
        self.is_entered = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self.closed = False

    def deliver(self, samples: Samples) -> None:
        self.is_entered.set()
        self.gate.wait(WAIT_SECONDS)
        if self.faults:
            raise self.faults.pop(0)
        self.taken.append(samples.unix_seconds)

    def close(self) -> None:
        self.closed = True


def samples(number: int) -> Samples:
    return Samples(float(number), complete=True, samples=())


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_delivers_in_order_and_closes() -> None:
    sink = FakeSink()
    worker = SinkWorker(sink)
    for number in range(5):
        worker.put(samples(number))
    worker.stop(WAIT_SECONDS)
    assert sink.taken == [0, 1, 2, 3, 4]
    assert sink.closed
    health = worker.health()
    assert (health.delivered, health.dropped, health.errors, health.queue_length) == (5, 0, 0, 0)


def test_slow_sink_does_not_delay_the_caller_and_the_oldest_are_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_module, "QUEUE_INTERVALS", 3)
    sink = FakeSink()
    sink.gate.clear()
    worker = SinkWorker(sink)
    worker.put(samples(0))
    assert sink.is_entered.wait(WAIT_SECONDS)
    for number in range(1, 10):
        worker.put(samples(number))  # returns although nothing is taken
    assert worker.health().queue_length == 3
    assert worker.health().dropped == 7
    sink.gate.set()
    worker.stop(WAIT_SECONDS)
    assert sink.taken == [0, 8, 9]


@pytest.mark.parametrize("bound", [1, 2, 3])
@pytest.mark.parametrize(
    ("fault", "taken"),
    [
        (None, 1),
        (SinkRefusedError("unknown host"), 0),
        (ZeroDivisionError("bug"), 0),
        (SinkUnavailableError("down"), 1),
        (SinkGoneError("nobody reads"), 0),
    ],
)
def test_interval_counts_as_delivered_or_as_dropped_when_the_queue_fills_during_its_delivery(
    fault: Exception | None, taken: int, bound: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever becomes of it: never as both, nor as none."""
    monkeypatch.setattr(worker_module, "QUEUE_INTERVALS", bound)
    monkeypatch.setattr(worker_module, "FIRST_BACK_OFF_SECONDS", 0.01)
    sink = FakeSink(*[fault] if fault else [])
    sink.gate.clear()
    worker = SinkWorker(sink)
    worker.put(samples(0))
    assert sink.is_entered.wait(WAIT_SECONDS)
    for number in range(1, 10):
        worker.put(samples(number))
    assert worker.health().queue_length == max(2, bound)
    sink.gate.set()
    wait_for(lambda: worker.health().queue_length == 0)
    worker.stop(WAIT_SECONDS)
    health = worker.health()
    assert (health.delivered, health.delivered + health.dropped) == (len(sink.taken), 10)
    assert sink.taken.count(0) == taken
    assert worker.is_gone or sink.taken[-1] == 9


@pytest.mark.parametrize("rows", [5, 2, 0])
def test_large_intervals_are_bounded_by_their_samples(
    monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    """And by what they hold of clients without a row."""
    monkeypatch.setattr(worker_module, "QUEUE_SAMPLES", 10)
    sink = FakeSink()
    sink.gate.clear()
    worker = SinkWorker(sink)
    large = Samples(
        0.0,
        complete=True,
        samples=(Sample(catalog.CHILD_UP, (), 1),) * rows,
        client_bytes={(catalog.CLIENT_RECEIVE_BYTES, ()): {str(n): 1 for n in range(5 - rows)}},
    )
    for _ in range(10):
        worker.put(large)
    assert worker.health().queue_length == 2
    sink.gate.set()
    worker.stop(WAIT_SECONDS)


def test_one_large_interval_throws_no_small_ones_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """As those with NFS operations are, once a minute: what waits has room together."""
    monkeypatch.setattr(worker_module, "QUEUE_SAMPLES", 100)
    sink = FakeSink()
    sink.gate.clear()
    worker = SinkWorker(sink)
    sample = Sample(catalog.CHILD_UP, (), 1)
    small = Samples(0.0, complete=True, samples=(sample,) * 5)
    large = Samples(0.0, complete=True, samples=(), operations=(sample,) * 60)
    worker.put(small)
    assert sink.is_entered.wait(WAIT_SECONDS)
    for each in (*[small] * 7, large):
        worker.put(each)
    assert (worker.health().queue_length, worker.health().dropped) == (9, 0)
    worker.put(large)
    assert (worker.health().queue_length, worker.health().dropped) == (2, 8)
    sink.gate.set()
    worker.stop(WAIT_SECONDS)


def test_another_cause_is_told_as_well(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(worker_module, "FIRST_BACK_OFF_SECONDS", 0.01)
    refused = SinkRefusedError("unknown host")
    worker = SinkWorker(FakeSink(SinkUnavailableError("down"), refused, refused))
    for number in range(3):
        worker.put(samples(number))
    wait_for(lambda: worker.health().delivered == 1)
    worker.stop(WAIT_SECONDS)
    assert caplog.messages[:2] == ["sink fake: down; will try again", "sink fake: unknown host"]


def test_fault_at_closing_is_told_and_goes_no_further(caplog: pytest.LogCaptureFixture) -> None:
    sink = FakeSink()
    sink.close = lambda: 1 / 0  # type: ignore[method-assign, assignment]
    SinkWorker(sink).stop(WAIT_SECONDS)
    assert "failed to close" in caplog.text


def test_unavailable_sink_gets_the_same_samples_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And the log has one line for the failure and one for its end, however long it lasts."""
    monkeypatch.setattr(worker_module, "FIRST_BACK_OFF_SECONDS", 0.01)
    caplog.set_level(logging.INFO)
    sink = FakeSink(*[SinkUnavailableError("connection refused")] * 3)
    worker = SinkWorker(sink)
    worker.put(samples(1))
    worker.put(samples(2))
    wait_for(lambda: len(sink.taken) == 2)
    worker.stop(WAIT_SECONDS)
    assert sink.taken == [1, 2]
    assert (worker.health().errors, worker.health().dropped) == (3, 0)
    assert caplog.messages == [
        "sink fake: connection refused; will try again",
        "sink fake works again",
    ]


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        (SinkUnavailableError("down"), SinkState.BACKING_OFF),
        (SinkRefusedError("unknown host"), SinkState.REFUSING),
        (ZeroDivisionError("bug"), SinkState.REFUSING),
    ],
)
def test_state_tells_what_became_of_the_last_delivery(fault: Exception, state: SinkState) -> None:
    worker = SinkWorker(FakeSink(fault))
    worker.put(samples(1))
    wait_for(lambda: worker.health().errors == 1)
    assert (worker.health().state, worker.is_on_disk) == (state, False)
    worker.put(samples(2))
    wait_for(lambda: worker.health().state is SinkState.DELIVERING and worker.is_on_disk)
    worker.stop(WAIT_SECONDS)


def test_refused_samples_are_dropped_and_the_next_are_tried() -> None:
    sink = FakeSink(SinkRefusedError("unknown host"))
    worker = SinkWorker(sink)
    worker.put(samples(1))
    worker.put(samples(2))
    worker.stop(WAIT_SECONDS)
    assert sink.taken == [2]
    assert (worker.health().errors, worker.health().dropped) == (1, 1)
    assert worker.health().state is SinkState.DELIVERING


def test_sink_that_is_gone_is_given_up() -> None:
    sink = FakeSink(SinkGoneError("nobody reads"))
    worker = SinkWorker(sink)
    assert worker.health().state is SinkState.STARTING
    worker.put(samples(1))
    wait_for(lambda: worker.is_gone)
    assert worker.health().state is SinkState.GONE
    worker.put(samples(2))
    assert (worker.health().dropped, worker.health().queue_length) == (2, 0)
    worker.stop(WAIT_SECONDS)
    assert sink.closed


def test_fault_of_a_sink_does_not_end_its_thread(caplog: pytest.LogCaptureFixture) -> None:
    sink = FakeSink(ZeroDivisionError("bug"))
    worker = SinkWorker(sink)
    worker.put(samples(1))
    worker.put(samples(2))
    worker.stop(WAIT_SECONDS)
    assert sink.taken == [2]
    assert "ZeroDivisionError" in caplog.text


def test_stop_does_not_wait_for_a_sink_that_hangs(caplog: pytest.LogCaptureFixture) -> None:
    sink = FakeSink()
    sink.gate.clear()
    worker = SinkWorker(sink)
    worker.put(samples(1))
    worker.stop(0.05)
    assert "1 intervals were not delivered" in caplog.text
    assert not sink.closed
    sink.gate.set()
    wait_for(lambda: sink.taken == [1])


def test_stop_while_the_sink_is_down_does_not_wait_for_the_back_off() -> None:
    sink = FakeSink(*[SinkUnavailableError("down")] * 100)
    worker = SinkWorker(sink)
    worker.put(samples(1))
    wait_for(lambda: worker.health().errors == 1)
    worker.stop(WAIT_SECONDS)
    assert sink.closed

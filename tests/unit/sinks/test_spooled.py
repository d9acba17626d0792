"""Every entry arrives at every target, the newest first, whatever a target does."""

import functools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from nfszbx.errors import SinkUnavailableError
from nfszbx.samples import Samples
from nfszbx.sinks import spooled as spooled_module
from nfszbx.sinks.spooled import SpooledSink
from nfszbx.sinks.states import SinkState
from nfszbx.spool import Spool, SpoolLimits
from nfszbx.spool_store import Entry

SECOND_NS = 1_000_000_000
WAIT_SECONDS = 10.0


class FakeTarget:
    """Takes entries, unless it is told not to."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.answered_by = ""
        self.sent: list[list[int]] = []
        self.refused_topics: set[str] = set()
        self.is_down = False
        self.gate = threading.Event()
        self.gate.set()

    @property
    def taken(self) -> list[int]:
        return [second for batch in self.sent for second in batch]

    def send(self, entries: Sequence[Entry]) -> int:
        assert self.gate.wait(WAIT_SECONDS)
        if self.is_down:
            raise SinkUnavailableError("nobody there")
        refused = sum(entry.topic in self.refused_topics for entry in entries)
        taken = [e.unix_ns // SECOND_NS for e in entries if e.topic not in self.refused_topics]
        if taken:
            self.sent.append(taken)
        return refused

    def probe(self) -> None:
        if self.is_down:
            raise SinkUnavailableError("nobody there")

    def explain_refusal(self, topic: str) -> str:
        return f"it does not like {topic}"


class FakeDocuments:
    """Makes the entries of :func:`encode`; ``kept`` has what was in the spool then."""

    def __init__(self) -> None:
        self.kept: list[int] = []

    def make_entries(self, samples: Samples) -> list[Entry]:
        return encode(samples)

    def keep(self, samples: Samples) -> int:
        self.kept.append(samples.number)
        return samples.number - 1

    def close(self) -> None:
        pass


def encode(samples: Samples) -> list[Entry]:
    """Two entries for every second one."""
    second = int(samples.unix_seconds)
    topics = ("totals", "clients") if second % 2 == 0 else ("totals",)
    return [Entry(topic, second * SECOND_NS, f"{topic} {second}") for topic in topics]


def count_entries(seconds: range) -> int:
    return sum(len(encode(make_samples(second))) for second in seconds)


def make_samples(second: int) -> Samples:
    return Samples(float(second), complete=True, samples=())


def has_taken(target: FakeTarget, count: int) -> bool:
    return len(target.taken) == count


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Bench:
    def __init__(self, path: Path) -> None:
        self.path = path / "spool.sqlite3"
        self.first, self.second = FakeTarget("first"), FakeTarget("second")
        self.start()

    def start(self) -> None:
        limits = SpoolLimits(max_bytes=10**7, max_age_seconds=10**6, replay_seconds=300)
        spool = Spool(self.path, (self.first.name, self.second.name), limits)
        self.sink = SpooledSink(FakeDocuments(), spool, [self.first, self.second])

    def put(self, seconds: range) -> None:
        for second in seconds:
            self.sink.put(make_samples(second))


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(spooled_module, "FIRST_BACK_OFF_SECONDS", 0.05)
    monkeypatch.setattr(spooled_module, "MAX_BACK_OFF_SECONDS", 0.05)
    monkeypatch.setattr(spooled_module, "BACKLOG_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(spooled_module, "REFUSED_SECONDS", 0.1)
    bench = Bench(tmp_path)
    yield bench
    bench.sink.stop(WAIT_SECONDS)


def test_all_targets_take_everything(bench: Bench) -> None:
    bench.put(range(10))
    for target in (bench.first, bench.second):
        wait_for(functools.partial(has_taken, target, 15))
        assert set(target.taken) == set(range(10))
    wait_for(lambda: [h.delivered for h in bench.sink.healths()] == [15, 15])
    assert [h.queue_length for h in bench.sink.healths()] == [0, 0]


def test_target_that_is_down_holds_nobody_and_gets_everything_later(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bench.first.is_down = True
    bench.put(range(300))
    everything = count_entries(range(300))
    wait_for(lambda: len(bench.second.taken) == everything)
    wait_for(lambda: bench.sink.healths()[0].queue_length == everything)
    assert bench.first.taken == []
    assert [h.state for h in bench.sink.healths()] == [SinkState.BACKING_OFF, SinkState.DELIVERING]
    bench.first.is_down = False
    bench.put(range(300, 301))
    wait_for(lambda: bench.sink.healths()[0].queue_length == 0)
    assert set(bench.first.taken) == set(range(301))
    text = caplog.text
    assert text.count("first: nobody there; values wait in the spool") == 1
    assert "first works again" in text
    assert bench.sink.healths()[0].errors > 0
    assert bench.sink.healths()[0].state is SinkState.DELIVERING


def test_newest_entries_do_not_wait_for_the_backlog(bench: Bench) -> None:
    bench.first.is_down = True
    bench.put(range(340))
    wait_for(lambda: bench.sink.healths()[0].queue_length == count_entries(range(340)))
    bench.first.gate.clear()
    bench.first.is_down = False
    bench.put(range(340, 341))
    wait_for(lambda: bench.sink.healths()[0].queue_length == count_entries(range(341)))
    bench.first.gate.set()
    wait_for(lambda: bench.sink.healths()[0].queue_length == 0)
    assert 340 in bench.first.taken[:300]


def test_what_was_taken_before_a_disconnect_is_sent_again(bench: Bench) -> None:
    """A server that is killed loses what it has not yet written."""
    bench.put(range(3))
    wait_for(lambda: bench.sink.healths()[0].delivered == 5)
    bench.first.is_down = True
    bench.put(range(3, 4))
    wait_for(lambda: bench.sink.healths()[0].errors > 0)
    bench.first.sent.clear()
    bench.first.is_down = False
    wait_for(lambda: set(bench.first.taken) == {0, 1, 2, 3})


def test_another_node_of_a_target_gets_what_the_first_may_have_lost(bench: Bench) -> None:
    bench.first.answered_by = "one"
    bench.put(range(3))
    wait_for(lambda: bench.sink.healths()[0].delivered == 5)
    bench.first.sent.clear()
    bench.first.answered_by = "other"
    bench.put(range(3, 4))
    wait_for(lambda: set(bench.first.taken) == {0, 1, 2, 3})


def test_long_outage_does_not_end_the_replay(bench: Bench) -> None:
    """What was taken just before waits from the first failure on, not from the last one."""
    bench.put(range(3))
    wait_for(lambda: bench.sink.healths()[0].delivered == 5)
    bench.first.is_down = True
    bench.put(range(3, 4))
    wait_for(lambda: bench.sink.healths()[0].queue_length == 6)


def test_fault_in_making_entries_is_survived(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> list[Entry]:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(FakeDocuments, "make_entries", fail)
        bench.put(range(1))
        wait_for(lambda: "an interval could not be kept" in caplog.text)
    bench.put(range(1, 2))
    wait_for(lambda: bench.first.taken == [1])
    assert bench.sink.healths()[0].dropped == 1


def test_stop_is_bounded(bench: Bench) -> None:
    """However many targets hang."""
    for target in (bench.first, bench.second):
        target.gate.clear()
    bench.put(range(1))
    wait_for(lambda: bench.sink.healths()[0].queue_length == 2)
    begin = time.monotonic()
    bench.sink.stop(0.5)
    assert time.monotonic() - begin < WAIT_SECONDS / 2
    for target in (bench.first, bench.second):
        target.gate.set()


def test_target_that_was_away_between_two_entries(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooled_module, "PROBE_SECONDS", 0.05)
    bench.put(range(3))
    wait_for(lambda: bench.sink.healths()[0].delivered == 5)
    bench.first.is_down = True
    wait_for(lambda: bench.sink.healths()[0].errors > 0)
    bench.first.sent.clear()
    bench.first.is_down = False
    wait_for(lambda: set(bench.first.taken) == {0, 1, 2})


def test_what_was_taken_before_a_restart_is_sent_again(bench: Bench) -> None:
    bench.put(range(3))
    wait_for(lambda: bench.sink.healths()[0].delivered == 5)
    bench.sink.stop(WAIT_SECONDS)
    bench.first.sent.clear()
    bench.start()
    bench.put(range(3, 4))
    wait_for(lambda: set(bench.first.taken) == {0, 1, 2, 3})


def test_refused_topic_waits_and_holds_no_other(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bench.first.refused_topics = {"clients"}
    bench.put(range(100))
    wait_for(lambda: len(bench.first.taken) >= 100 and bench.sink.healths()[0].queue_length == 50)
    time.sleep(0.3)  # tried again several times
    message = "first refuses clients, which waits in the spool: it does not like clients"
    assert caplog.text.count(message) == 1
    assert bench.sink.healths()[0].state is SinkState.REFUSING
    bench.first.refused_topics = set()
    wait_for(lambda: bench.sink.healths()[0].queue_length == 0)
    wait_for(lambda: caplog.text.count("first takes clients") == 1)
    assert bench.sink.healths()[0].state is SinkState.DELIVERING


def test_stop_delivers_what_is_new_and_leaves_the_rest_in_the_spool(bench: Bench) -> None:
    bench.second.is_down = True
    bench.put(range(1))
    bench.sink.stop(WAIT_SECONDS)
    assert bench.first.taken == [0, 0]
    assert bench.second.taken == []
    bench.second.is_down = False
    bench.start()
    wait_for(lambda: bench.second.taken == [0, 0])


def test_fault_of_a_target_is_survived(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Sequence[Entry]) -> int:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(bench.first, "send", fail)
        bench.put(range(1))
        wait_for(lambda: "first failed" in caplog.text)
    wait_for(lambda: set(bench.first.taken) == {0})

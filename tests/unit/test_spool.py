"""What waits is neither lost nor invented, whatever happens to the consumers."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from nfszbx.spool import Spool, SpoolLimits
from tests.spooling import (
    FIRST,
    LIMITS,
    SECOND,
    SECOND_NS,
    list_waiting,
    make_entry,
    open_spool,
    take,
)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = open_spool(tmp_path)
    yield spool
    spool.close()


def test_each_consumer_has_a_cursor_of_its_own(spool: Spool) -> None:
    spool.append([make_entry(1), make_entry(2)])
    spool.append([make_entry(3)])
    take(spool, 1, 3)
    assert list_waiting(spool) == [2]
    assert list_waiting(spool, SECOND) == [1, 2, 3]
    assert (spool.count_waiting(FIRST), spool.count_waiting(SECOND)) == (1, 3)


def test_newest_first_and_then_the_rest(spool: Spool) -> None:
    spool.append([make_entry(number) for number in range(10)])
    newest = spool.find_waiting(FIRST, 2, newest=True)
    assert [w.entry for w in newest] == [make_entry(8), make_entry(9)]
    after = spool.find_waiting(FIRST, 3, after_id=newest[0].id - 5)
    assert [w.entry for w in after] == [make_entry(4), make_entry(5), make_entry(6)]


def test_what_was_taken_is_not_counted_as_dropped(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, SpoolLimits(20, 100, 300))
    spool.append([make_entry(1)])
    take(spool, 1)
    spool.append([make_entry(2)])
    assert (spool.count_dropped(FIRST), spool.count_dropped(SECOND)) == (0, 1)
    spool.close()


def test_consumer_that_is_gone_holds_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = open_spool(tmp_path)
    spool.append([make_entry(1)])
    take(spool, 1)
    spool.append([make_entry(2)])
    spool.close()
    spool = Spool(tmp_path / "spool.sqlite3", (FIRST,), LIMITS)
    assert list_waiting(spool, SECOND) == []
    assert sorted(list_waiting(spool)) == [1, 2]
    take(spool, 1, 2)
    spool.close()
    assert "not set any more" not in caplog.text


def test_consumer_of_another_name_gets_what_the_old_one_waited_for(tmp_path: Path) -> None:
    """A server is given another port, or a second node, while it is away."""
    spool = open_spool(tmp_path)
    spool.append([make_entry(1), make_entry(2)])
    take(spool, 2)
    take(spool, 1, 2, consumer=SECOND)
    spool.close()
    spool = Spool(tmp_path / "spool.sqlite3", ("new", SECOND), LIMITS)
    assert (list_waiting(spool, "new"), spool.count_waiting("new")) == ([1], 1)
    spool.close()


def test_values_of_nobody_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = open_spool(tmp_path)
    spool.append([make_entry(1)])
    take(spool, 1)
    spool.append([make_entry(2)])
    spool.close()
    with sqlite3.connect(tmp_path / "spool.sqlite3") as database:
        database.execute("DELETE FROM deliveries WHERE consumer = ? AND entry = 2", (FIRST,))
    database.close()
    Spool(tmp_path / "spool.sqlite3", (FIRST,), LIMITS).close()
    assert "1 values waited for servers that are not set any more" in caplog.text


def test_closed_spool_does_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = open_spool(tmp_path)
    spool.close()
    spool.append([make_entry(1)])
    spool.note_taken(FIRST, [1])
    assert (spool.find_waiting(FIRST, 9), spool.put_back(FIRST)) == ([], 0)
    assert not caplog.text


class SpoolMachine(RuleBasedStateMachine):
    """Against a model: a set of waiting and a set of taken seconds for each consumer."""

    def __init__(self) -> None:
        super().__init__()
        self.spool = Spool(Path("/proc/no-such-directory/spool"), (FIRST, SECOND), LIMITS)
        self.waiting: dict[str, set[int]] = {FIRST: set(), SECOND: set()}
        self.again: dict[str, set[int]] = {FIRST: set(), SECOND: set()}
        self.taken: dict[str, set[int]] = {FIRST: set(), SECOND: set()}
        self.number = 0

    @rule(count=st.integers(1, 5))
    def append(self, count: int) -> None:
        added = range(self.number, self.number + count)
        self.number += count
        self.spool.append([make_entry(number) for number in added])
        for waiting in self.waiting.values():
            waiting.update(added)

    @rule(consumer=st.sampled_from([FIRST, SECOND]), limit=st.integers(1, 4), newest=st.booleans())
    def take(self, consumer: str, limit: int, newest: bool) -> None:  # noqa: FBT001  hypothesis calls it
        found = self.spool.find_waiting(consumer, limit, newest=newest)
        seconds = [w.entry.unix_ns // SECOND_NS for w in found]
        everything = sorted(self.waiting[consumer] | self.again[consumer])
        assert seconds == (everything[-limit:] if newest else self.in_order(consumer)[:limit])
        self.spool.note_taken(consumer, [w.id for w in found])
        self.waiting[consumer].difference_update(seconds)
        self.again[consumer].difference_update(seconds)
        self.taken[consumer].update(seconds)

    @rule(consumer=st.sampled_from([FIRST, SECOND]))
    def put_back(self, consumer: str) -> None:
        assert self.spool.put_back(consumer) == len(self.taken[consumer])
        self.again[consumer] |= self.taken[consumer]
        self.taken[consumer].clear()

    def in_order(self, consumer: str) -> list[int]:
        return sorted(self.waiting[consumer]) + sorted(self.again[consumer])

    @invariant()
    def nothing_is_lost(self) -> None:
        for consumer in self.waiting:
            assert list_waiting(self.spool, consumer) == self.in_order(consumer)
            assert self.spool.count_waiting(consumer) == len(self.in_order(consumer))

    def teardown(self) -> None:
        self.spool.close()


TestSpoolMachine = SpoolMachine.TestCase
TestSpoolMachine.settings = settings(max_examples=50, deadline=None)

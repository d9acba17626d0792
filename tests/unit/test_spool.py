"""What waits is neither lost nor invented, whatever happens to the disk and to the consumers."""

import logging
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from nfszbx import spool as spool_module
from nfszbx.spool import Spool, SpoolLimits
from nfszbx.spool_store import Entry, SpoolStore

SECOND_NS = 1_000_000_000
LIMITS = SpoolLimits(max_bytes=1_000_000, max_age_seconds=86_400, replay_seconds=300)
FIRST, SECOND = "first", "second"


def make_entry(number: int, text: str = "") -> Entry:
    return Entry("totals", number * SECOND_NS, text or f"value {number}")


def open_spool(path: Path, limits: SpoolLimits = LIMITS) -> Spool:
    return Spool(path / "spool.sqlite3", (FIRST, SECOND), limits)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = open_spool(tmp_path)
    yield spool
    spool.close()


class FakeClock:
    """The monotonic clock, which the test moves on."""

    now = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """With a spool that tidies up at every turn."""
    clock = FakeClock()
    monkeypatch.setattr(spool_module, "monotonic_seconds", lambda: clock.now)
    monkeypatch.setattr(spool_module, "TIDY_SECONDS", 0.0)
    return clock


def list_waiting(spool: Spool, consumer: str = FIRST) -> list[int]:
    """The seconds of the entries."""
    return [w.entry.unix_ns // SECOND_NS for w in spool.find_waiting(consumer, 1000)]


def take(spool: Spool, *seconds: int, consumer: str = FIRST) -> None:
    waiting = spool.find_waiting(consumer, 1000)
    spool.note_taken(consumer, [w.id for w in waiting if w.entry.unix_ns // SECOND_NS in seconds])


def is_on_disk(spool: Spool) -> bool:
    return spool.is_on_disk


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


def test_what_was_taken_lately_can_be_put_back(tmp_path: Path, clock: FakeClock) -> None:
    spool = open_spool(tmp_path)
    spool.append([make_entry(1), make_entry(2)])
    take(spool, 1)
    clock.now += 400
    take(spool, 2)
    clock.now += 200
    assert spool.put_back(FIRST) == 1
    assert list_waiting(spool) == [2]
    spool.append([make_entry(3)])
    assert list_waiting(spool) == [3, 2]  # what it has not had comes first
    take(spool, 1, 2, 3, consumer=SECOND)
    take(spool, 2, 3)
    clock.now += 301
    spool.append([make_entry(4)])
    assert spool.put_back(FIRST) == 0
    assert list_waiting(spool) == [4]
    spool.close()


def test_what_was_taken_last_is_put_back_at_the_start(tmp_path: Path, clock: FakeClock) -> None:
    """However long ago: nothing was done meanwhile that could tell what became of it."""
    spool = open_spool(tmp_path)
    spool.append([make_entry(1), make_entry(2)])
    take(spool, 1)
    clock.now += 400
    take(spool, 2)
    spool.close()
    clock.now = 5.0  # the machine has booted
    spool = open_spool(tmp_path)
    assert (list_waiting(spool), spool.count_waiting(FIRST)) == ([2], 1)
    take(spool, 2)
    clock.now += 100
    assert spool.put_back(FIRST) == 1
    spool.close()


@pytest.mark.parametrize("wrong_ns", [0, 10**19 // 2])
def test_clock_on_the_wall_makes_nothing_old(
    tmp_path: Path, clock: FakeClock, wrong_ns: int
) -> None:
    """It may jump to wherever it likes, and stay there, over a restart as well."""
    spool = open_spool(tmp_path)
    day = 20_000 * 86_400
    spool.append([make_entry(day + number) for number in range(10)])
    clock.now += 60
    for count in range(3):
        spool.append([Entry("totals", wrong_ns + count, "wrong")])
        clock.now += 60
    spool.close()
    spool = open_spool(tmp_path)
    for _ in range(3):
        spool.append([make_entry(day + 10)])
        clock.now += 60
    assert (spool.count_waiting(FIRST), spool.count_dropped(FIRST)) == (16, 0)
    spool.close()


def test_age_is_running_time_over_restarts(tmp_path: Path, clock: FakeClock) -> None:
    """Each second of it counts once, whether the clock on the wall moves or not."""
    for number in range(6):
        spool = open_spool(tmp_path, SpoolLimits(10**6, 250, 0))
        spool.append([make_entry(1)])
        clock.now += 100
        spool.append([make_entry(2)])
        expected = min(2 * (number + 1), 6)
        assert abs(spool.count_waiting(FIRST) - expected) <= 1
        spool.close()
        clock.now += 1_000_000


def test_file_of_an_earlier_version_is_taken_over(tmp_path: Path, clock: FakeClock) -> None:
    """What was taken last may be put back, and what waits goes on waiting."""
    path = tmp_path / "spool.sqlite3"
    spool = open_spool(tmp_path)
    spool.append([make_entry(1), make_entry(2), make_entry(3)])
    spool.close()
    with sqlite3.connect(path) as database:
        database.executescript(
            "DROP TABLE ages; PRAGMA user_version = 1;"
            "ALTER TABLE deliveries RENAME COLUMN taken_seconds TO taken_unix_seconds;"
            "UPDATE deliveries SET taken_unix_seconds = 1790000000 WHERE entry = 1;"
            "UPDATE deliveries SET taken_unix_seconds = 1790000400 WHERE entry = 2;"
        )
    database.close()
    spool = open_spool(tmp_path)
    assert list_waiting(spool) == [3, 2]
    take(spool, 2, 3)
    clock.now += 60
    spool.append([make_entry(4)])
    assert spool.put_back(FIRST) == 2
    spool.close()


def test_damaged_value_is_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = open_spool(tmp_path)
    spool.append([make_entry(number) for number in range(3)])
    spool.close()
    database = sqlite3.connect(tmp_path / "spool.sqlite3")
    database.execute("UPDATE entries SET text = x'00ff' WHERE unix_ns = ?", (SECOND_NS,))
    database.commit()
    database.close()
    spool = open_spool(tmp_path)
    assert list_waiting(spool) == list_waiting(spool, SECOND) == [0, 2]
    assert (spool.count_waiting(FIRST), spool.count_dropped(FIRST)) == (2, 1)
    assert "1 values are damaged" in caplog.text
    spool.close()


def test_survives_the_end_of_the_process(tmp_path: Path) -> None:
    """SIGKILL right after the append."""
    program = (
        "import os, signal; from pathlib import Path; from tests.unit.test_spool import *;"
        f"open_spool(Path({str(tmp_path)!r})).append([make_entry(7)]);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", program], check=False)
    spool = open_spool(tmp_path)
    assert list_waiting(spool) == list_waiting(spool, SECOND) == [7]
    spool.close()


def test_too_old_and_too_much_is_dropped_and_counted(tmp_path: Path, clock: FakeClock) -> None:
    limits = SpoolLimits(max_bytes=20_000, max_age_seconds=100, replay_seconds=300)
    spool = open_spool(tmp_path, limits)
    noise = os.urandom(2000).hex()  # compresses to half
    for number in range(1, 21):
        spool.append([make_entry(number, f"{number} {noise}")])
        clock.now += 1
    kept = list_waiting(spool)
    assert 5 < len(kept) < 10
    assert kept == list(range(21 - len(kept), 21))
    assert spool.count_dropped(FIRST) == spool.count_dropped(SECOND) == 20 - len(kept)
    clock.now += 95  # 15 was put there 101 seconds ago, 16 was 100
    spool.append([make_entry(21)])
    assert list_waiting(spool)[0] == 16
    assert spool.count_dropped(FIRST) == 15
    spool.close()


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


def test_ids_grow_from_store_to_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What came last has the highest id, whether the disk worked or not."""
    spool = open_spool(tmp_path)
    spool.append([make_entry(1)])
    add = SpoolStore.add

    def fail(store: SpoolStore, entries: list[Entry], consumers: list[str]) -> int:
        if store.path is not None:
            raise sqlite3.OperationalError("disk I/O error")
        return add(store, entries, consumers)

    with monkeypatch.context() as patch:
        patch.setattr(SpoolStore, "add", fail)
        spool.append([make_entry(2)])
        (second,) = spool.find_waiting(FIRST, 9)
        take(spool, 2)
    monkeypatch.setattr(spool, "_retry_at", 0.0)
    spool.append([make_entry(3)])
    assert is_on_disk(spool)
    assert list_waiting(spool) == [1, 3]
    assert spool.put_back(FIRST) == 1  # what was taken meanwhile is known as well
    newest = spool.find_waiting(FIRST, 1, newest=True, after_id=second.id)
    assert [w.entry for w in newest] == [make_entry(3)]
    spool.close()


def test_closed_spool_does_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = open_spool(tmp_path)
    spool.close()
    spool.append([make_entry(1)])
    spool.note_taken(FIRST, [1])
    assert (spool.find_waiting(FIRST, 9), spool.put_back(FIRST)) == ([], 0)
    assert not caplog.text


@pytest.mark.parametrize("damage", ["no database", "malformed", "other version"])
def test_damaged_file_is_set_aside(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "spool.sqlite3"
    spool = open_spool(tmp_path)
    spool.append([make_entry(number, os.urandom(3000).hex()) for number in range(50)])
    spool.close()
    if damage == "no database":
        path.write_bytes(b"something else" * 1000)
    elif damage == "malformed":
        content = bytearray(path.read_bytes())
        content[4096 : len(content) // 2] = os.urandom(len(content) // 2 - 4096)
        path.write_bytes(content)
    else:
        database = sqlite3.connect(path)
        database.execute("PRAGMA user_version = 99")
        database.close()
    spool = open_spool(tmp_path)
    assert spool.is_on_disk
    assert "begun anew" in caplog.text
    assert path.with_name("spool.sqlite3.damaged").exists()
    spool.append([make_entry(1)])
    assert list_waiting(spool) == [1]
    spool.close()


def test_full_disk_does_not_stop_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What comes meanwhile waits in memory and goes to the disk when it can be written again."""
    caplog.set_level(logging.INFO)
    spool = open_spool(tmp_path)
    spool.append([make_entry(1)])
    is_full = True
    add = SpoolStore.add

    def add_or_fail(store: SpoolStore, entries: list[Entry], consumers: list[str]) -> int:
        if is_full and store.path is not None:
            raise sqlite3.OperationalError("database or disk is full")
        return add(store, entries, consumers)

    monkeypatch.setattr(SpoolStore, "add", add_or_fail)
    spool.append([make_entry(2)])
    assert is_on_disk(spool) is False
    assert "disk is full; values wait in memory" in caplog.text
    spool.append([make_entry(3)])
    take(spool, 2)
    assert list_waiting(spool) == [3]
    is_full = False
    monkeypatch.setattr(spool_module, "RETRY_DISK_SECONDS", 0.0)
    monkeypatch.setattr(spool, "_retry_at", 0.0)
    spool.append([make_entry(4)])
    assert is_on_disk(spool) is True
    assert "works again" in caplog.text
    assert list_waiting(spool) == [1, 3, 4]
    assert list_waiting(spool, SECOND) == [1, 2, 3, 4]
    spool.close()


def test_second_process_waits_in_memory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool, other = open_spool(tmp_path), open_spool(tmp_path)
    assert (spool.is_on_disk, other.is_on_disk) == (True, False)
    assert "database is locked" in caplog.text
    other.append([make_entry(1)])
    assert (list_waiting(spool), list_waiting(other)) == ([], [1])
    spool.close()
    other.close()


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

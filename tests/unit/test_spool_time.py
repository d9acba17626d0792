"""What waits grows old by running time alone, and what was taken lately can be put back."""

import os
import sqlite3
from pathlib import Path

import pytest

from nfszbx import spool as spool_module
from nfszbx.spool import SpoolLimits
from nfszbx.spool_store import Entry
from tests.spooling import (
    FIRST,
    SECOND,
    list_waiting,
    make_entry,
    open_spool,
    take,
)


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

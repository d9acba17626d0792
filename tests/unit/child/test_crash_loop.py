"""Restarts slow down, and the log stays short, however children end."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from nfszbx.child.crash_loop import (
    CALM_SECONDS,
    LOOP_ENDS,
    LOOP_SECONDS,
    MAX_BACK_OFF_SECONDS,
    REMINDER_SECONDS,
    CrashLoop,
    LoopNews,
)

DUMP_SECONDS = 10.0


class Bench:
    """Children that live for a time, deliver all the while or never, and end."""

    def __init__(self) -> None:
        self.loop = CrashLoop()
        self.now = 1000.0
        self.news: list[LoopNews] = []
        self.starts: list[float] = []
        self.overs = 0

    def run_child(self, life_seconds: float, *, delivers: bool) -> None:
        self.starts.append(self.now)
        end = self.now + life_seconds
        while delivers and self.now + DUMP_SECONDS <= end:
            self.now += DUMP_SECONDS
            self.overs += self.loop.note_dump(self.now)
        self.now = end
        self.news.append(self.loop.note_end(self.now))
        self.now += self.loop.back_off_seconds


def test_children_that_live_for_a_while() -> None:
    """Each delivers for half a minute: told once as a loop, then every ten minutes."""
    bench = Bench()
    while bench.now < 1000 + 3600:
        bench.run_child(30, delivers=True)
    assert bench.news[: LOOP_ENDS + 1] == [LoopNews.SINGLE] * (LOOP_ENDS - 1) + [
        LoopNews.BEGINS,
        LoopNews.KNOWN,
    ]
    assert bench.news.count(LoopNews.BEGINS) == 1
    assert bench.news.count(LoopNews.REMINDER) == 3600 // REMINDER_SECONDS - 1
    assert bench.loop.ends == len(bench.news)
    assert bench.overs == 0


def test_loop_is_over_when_a_child_stays() -> None:
    bench = Bench()
    for _ in range(LOOP_ENDS):
        bench.run_child(DUMP_SECONDS, delivers=True)
    assert bench.loop.is_active
    bench.run_child(CALM_SECONDS + DUMP_SECONDS, delivers=True)
    assert (bench.overs, bench.loop.is_active) == (1, False)
    assert bench.news[-1] is LoopNews.SINGLE
    assert bench.loop.back_off_seconds == 0


def test_rare_ends_are_no_loop() -> None:
    bench = Bench()
    for _ in range(50):
        bench.run_child(LOOP_SECONDS / (LOOP_ENDS - 1), delivers=True)
    assert set(bench.news) == {LoopNews.SINGLE}
    assert bench.loop.back_off_seconds == 0


@given(st.lists(st.tuples(st.floats(0.01, 1000), st.booleans()), min_size=1, max_size=200))
def test_whatever_children_do(lives: list[tuple[float, bool]]) -> None:
    """Starts are bounded in every ten minutes; messages are, and each loop has one beginning."""
    bench = Bench()
    for life_seconds, delivers in lives:
        bench.run_child(life_seconds, delivers=delivers)
        assert 0 <= bench.loop.back_off_seconds <= MAX_BACK_OFF_SECONDS
    for number, start in enumerate(bench.starts):
        within = [s for s in bench.starts[number:] if s < start + LOOP_SECONDS]
        assert len(within) <= 20
    assert bench.news.count(LoopNews.BEGINS) - bench.overs == bench.loop.is_active
    reminders = [n for n, news in enumerate(bench.news) if news is LoopNews.REMINDER]
    for first, second in pairwise(reminders):
        assert bench.starts[second] + lives[second][0] - bench.starts[first] >= REMINDER_SECONDS

"""Counters of the sinks go on over the ends of their process."""

import pytest

from nfszbx.sinks.messages import MessageError
from nfszbx.sinks.reports import Report, Tally
from nfszbx.sinks.states import SinkState
from nfszbx.sinks.tallies import Tallies


def make_report(*names: str, delivered: int = 0, state: SinkState = SinkState.DELIVERING) -> Report:
    return Report(
        sinks=tuple(
            Tally(
                name=name,
                queue_length=1,
                delivered=delivered,
                dropped=1,
                errors=2,
                state=int(state),
            )
            for name in names
        )
    )


@pytest.fixture
def tallies() -> Tallies:
    tallies = Tallies()
    tallies.begin()
    return tallies


def test_counts_are_sums_over_all_processes(tallies: Tallies) -> None:
    tallies.take(make_report("console", delivered=5))
    tallies.end()
    tallies.begin()
    (between,) = tallies.list_healths(0, 0)
    assert between.delivered == 5
    tallies.take(make_report("console", delivered=2))
    tallies.end()
    tallies.begin()
    tallies.take(make_report("console", delivered=1))
    (health,) = tallies.list_healths(unsent=0, dropped=10)
    assert (health.delivered, health.dropped, health.errors) == (8, 13, 6)


def test_while_there_is_no_process_sinks_back_off_and_intervals_wait(tallies: Tallies) -> None:
    tallies.take(make_report("console"))
    assert [h.state for h in tallies.list_healths(0, 0)] == [SinkState.DELIVERING]
    tallies.end()
    (health,) = tallies.list_healths(unsent=7, dropped=0)
    assert (health.state, health.queue_length) == (SinkState.BACKING_OFF, 8)


def test_what_is_gone_stays_gone(tallies: Tallies) -> None:
    tallies.take(make_report("console", state=SinkState.GONE))
    tallies.end()
    assert [h.state for h in tallies.list_healths(0, 0)] == [SinkState.GONE]


def test_names_are_those_of_the_first_report(tallies: Tallies) -> None:
    """Each would be a series of its own: a taken-over process could make any number of them."""
    tallies.take(make_report("console", "prometheus"))
    with pytest.raises(MessageError, match="names"):
        tallies.take(make_report("console", "prometheus", "more"))
    tallies.end()
    tallies.begin()
    tallies.take(make_report("prometheus"))  # other settings
    assert [h.name for h in tallies.list_healths(0, 0)] == ["prometheus"]

"""What a slower report says is what the intervals have said: the same bytes over the same time."""

from collections import Counter
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfszbx import cadence as cadence_module
from nfszbx import catalog
from nfszbx.cadence import Cadence, Roster, Row
from nfszbx.metric import Metric
from nfszbx.samples import ClientBytes, Sample, Samples
from nfszbx.traffic import OTHER

FLOW = ("smbd", "tcp")
INTERVAL_SECONDS = 10.0


def name_row(client: str) -> Row:
    return (*FLOW, client)


class Source:
    """Makes the samples of intervals in which clients receive and send the same."""

    def __init__(self) -> None:
        self.totals: Counter[str] = Counter()
        self.time = 1_000_000.0

    def interval(
        self,
        traffic: Mapping[str, int],
        *,
        timed: bool = True,
        complete: bool = True,
        is_last: bool = False,
    ) -> Samples:
        self.time += INTERVAL_SECONDS
        self.totals.update(traffic)
        samples = (
            Sample(catalog.RECEIVE_BYTES, FLOW, self.totals.total()),
            Sample(catalog.TRANSMIT_BYTES, FLOW, self.totals.total()),
        )
        client_bytes: ClientBytes = {
            (metric, FLOW): {client: count for client, count in traffic.items() if count}
            for metric in (catalog.CLIENT_RECEIVE_BYTES, catalog.CLIENT_TRANSMIT_BYTES)
        }
        return Samples(self.time, complete, samples, INTERVAL_SECONDS, timed, client_bytes, is_last)


def values(report: Samples | None, metric: Metric) -> dict[str, float]:
    assert report is not None
    return {s.labels[-1]: s.value for s in report.samples if s.metric is metric}


def make_cadence(
    seconds: float = 30, max_rows: int = 100, max_idle_seconds: float = 1e9
) -> Cadence:
    return Cadence(seconds, Roster(max_rows, max_idle_seconds), {})


def test_rates_are_over_all_intervals_of_the_report() -> None:
    source, cadence = Source(), make_cadence()
    assert cadence.advance(source.interval({"a": 300})) is None
    assert cadence.advance(source.interval({})) is None
    report = cadence.advance(source.interval({"a": 300, "b": 60}))
    assert values(report, catalog.CLIENT_RECEIVE_RATE) == {"a": 20, "b": 2, OTHER: 0}
    assert values(report, catalog.CLIENT_TRANSMIT_BYTES) == {"a": 600, "b": 60, OTHER: 0}
    assert report is not None
    assert (report.unix_seconds, report.seconds) == (source.time, 30)


def test_report_waits_for_an_interval_of_known_length() -> None:
    source, cadence = Source(), make_cadence()
    for _ in range(2):
        assert cadence.advance(source.interval({"a": 10})) is None
    assert cadence.advance(source.interval({"a": 10}, timed=False)) is None
    report = cadence.advance(source.interval({"a": 10}))
    assert values(report, catalog.CLIENT_RECEIVE_RATE) == {"a": 1, OTHER: 0}


def test_last_interval_ends_a_report() -> None:
    """Its length is known well enough beside what it belongs to."""
    source, cadence = Source(), make_cadence(60)
    assert cadence.advance(source.interval({"a": 300})) is None
    report = cadence.advance(source.interval({"a": 300}, timed=False, is_last=True))
    assert values(report, catalog.CLIENT_RECEIVE_RATE) == {"a": 30, OTHER: 0}


def test_what_the_kernel_had_no_room_for_is_other() -> None:
    source, cadence = Source(), make_cadence(10)
    report = cadence.advance(source.interval({"a": 10, OTHER: 50}))
    assert values(report, catalog.CLIENT_RECEIVE_RATE) == {"a": 1, OTHER: 5}


def test_interval_without_a_dump_adds_no_time() -> None:
    source, cadence = Source(), make_cadence(20)
    cadence.advance(source.interval({"a": 40}))
    again = source.interval({})
    assert cadence.advance(Samples(again.unix_seconds, False, again.samples)) is None  # noqa: FBT003  as in the class
    report = cadence.advance(source.interval({}))
    assert values(report, catalog.CLIENT_RECEIVE_RATE)["a"] == 2
    assert report is not None
    assert not report.complete


def test_first_clients_stay_and_the_others_are_other() -> None:
    source, cadence = Source(), make_cadence(10, max_rows=2)
    cadence.advance(source.interval({"a": 20, "b": 10}))
    report = cadence.advance(source.interval({"c": 1000, "a": 5}))
    assert values(report, catalog.CLIENT_RECEIVE_RATE) == {"a": 0.5, "b": 0, OTHER: 100}


def test_busiest_clients_are_taken_on_first() -> None:
    source, cadence = Source(), make_cadence(10, max_rows=2)
    report = cadence.advance(source.interval({"a": 1, "b": 30, "c": 20}))
    assert values(report, catalog.CLIENT_RECEIVE_BYTES) == {"b": 30, "c": 20, OTHER: 1}


def test_idle_client_makes_room_in_the_end() -> None:
    source, cadence = Source(), make_cadence(10, max_rows=1, max_idle_seconds=25)
    cadence.advance(source.interval({"a": 1}))
    for _ in range(2):
        report = cadence.advance(source.interval({"b": 1}))
        assert set(values(report, catalog.CLIENT_RECEIVE_BYTES)) == {"a", OTHER}
    report = cadence.advance(source.interval({"b": 7}))
    assert values(report, catalog.CLIENT_RECEIVE_BYTES) == {"b": 7, OTHER: 2}


def test_what_waits_for_a_report_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost: whoever is not on the roster is other a little earlier."""
    monkeypatch.setattr(cadence_module, "MAX_FLOWED", 6)
    source, cadence = Source(), make_cadence(1000, max_rows=1)
    for _ in range(99):
        assert cadence.advance(source.interval({})) is None
    assert values(cadence.advance(source.interval({"a": 5})), catalog.CLIENT_RECEIVE_BYTES)["a"]
    for number in range(99):
        cadence.advance(source.interval({f"client {number}": 10, "a": 1}))
        assert sum(map(len, cadence._flowed.values())) <= 6  # noqa: SLF001  the size is nobody else's business
    report = cadence.advance(source.interval({"z": 7}))
    assert values(report, catalog.CLIENT_RECEIVE_BYTES) == {"a": 5 + 99, OTHER: 99 * 10 + 7}


def test_counters_of_rows_that_have_left_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first to leave are forgotten first; those on the roster, and other, never."""
    monkeypatch.setattr(cadence_module, "MAX_REMEMBERED", 8)
    source, cadence = Source(), make_cadence(10, max_rows=1, max_idle_seconds=5)
    for number in range(100):
        report = cadence.advance(source.interval({f"client {number}": 9, OTHER: 1}))
        expected = {f"client {number}": 9, OTHER: number + 1}
        assert values(report, catalog.CLIENT_RECEIVE_BYTES) == expected
        assert len(cadence._totals) <= 8 + 2 + 2  # noqa: SLF001  as above
    report = cadence.advance(source.interval({"client 98": 9}))
    assert values(report, catalog.CLIENT_RECEIVE_BYTES)["client 98"] == 18
    report = cadence.advance(source.interval({"client 1": 9}))
    assert values(report, catalog.CLIENT_RECEIVE_BYTES)["client 1"] == 9


@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 10**12)), st.booleans()
        ),
        max_size=30,
    )
)
def test_rows_add_up_to_what_flowed(intervals: list[tuple[dict[str, int], bool]]) -> None:
    source, cadence = Source(), make_cadence(20, max_rows=3, max_idle_seconds=50)
    flowed = reported = 0.0
    before: Counter[str] = Counter()
    for traffic, timed in intervals:
        flowed += sum(traffic.values())
        report = cadence.advance(source.interval(traffic, timed=timed))
        if report is not None and report.seconds is not None:
            totals = values(report, catalog.CLIENT_RECEIVE_BYTES)
            rates = values(report, catalog.CLIENT_RECEIVE_RATE)
            assert len(totals) <= 4
            for client, total in totals.items():
                grown = total - before[client]
                assert rates[client] * report.seconds == pytest.approx(grown)
                reported += grown
            before.update({client: total - before[client] for client, total in totals.items()})
            assert reported == flowed

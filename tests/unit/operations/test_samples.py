"""Counters of operations to samples."""

from dataclasses import replace
from itertools import pairwise

import pytest

from nfszbx import catalog_operations as catalog
from nfszbx.metric import SUM, Metric
from nfszbx.operations.cells import Cell, Outcome, Row, TimeCell, What
from nfszbx.operations.counts import OperationsDelta
from nfszbx.operations.samples import BOUNDS, OperationsState, make_operation_samples
from nfszbx.operations.tallies import Tally
from nfszbx.samples import Sample

ROW = Row("10.0.0.7", "/srv", "")
LABELS = ("10.0.0.7", "/srv", "")
TOTAL = {
    Cell(What.OPERATIONS, "4.1", "READ"): 30,
    Cell(What.OPERATIONS, "4.1", "OPEN"): 3,
    Cell(What.ERRORS, "4.1", "OPEN", "NOENT"): 2,
    Cell(What.READ_BYTES, "4.1", "READ"): 3000,
    Cell(What.COPY_BYTES, "4.2", "COPY"): 7,
}
DELTA = OperationsDelta(
    end_ns=10 * 10**9,
    elapsed_ns=2 * 10**9,
    rows={ROW: Tally(TOTAL, {cell: 10 for cell in TOTAL if cell.operation == "READ"})},
    exports={"/srv": {What.OPERATIONS: 20, What.READ_BYTES: 4000, What.COPY_BYTES: 1}},
    clients={"10.0.0.7": {What.OPERATIONS: 14}, "10.0.0.8": {What.OPERATIONS: 6}},
    times={
        "": Tally(
            {TimeCell("3", "READ", 3): 4, TimeCell("3", "READ", 30): 1}
            | {TimeCell("3", "READ", None): 5 * 10**9},
            {TimeCell("3", "READ", 3): 2, TimeCell("3", "READ", None): 10**9},
        )
    },
    interval_waits={4: 1},
    waits={5: 2},
    waited_ns=10**6,
    requests={Outcome("4.1", "COMPOUND", "executed"): 9},
    operations={},
    moved_bytes={},
    map_entries=12,
)
STATE = OperationsState(is_up=True, map_max_entries=1024)


def make(
    delta: OperationsDelta | None, state: OperationsState = STATE, *, timed: bool = True
) -> dict[tuple[Metric, tuple[str, ...]], float]:
    samples = make_operation_samples(delta, state, timed=timed)
    assert all(len(sample.labels) == len(sample.metric.labels) for sample in samples)
    found = {sample[:2]: sample.value for sample in samples}
    assert len(found) == len(samples)
    return found


def select(found: dict[tuple[Metric, tuple[str, ...]], float], *metrics: Metric) -> list[Sample]:
    return [Sample(*key, value) for key, value in found.items() if key[0] in metrics]


def test_counters_and_rates_of_rows() -> None:
    found = make(DELTA)
    read, opened = ("4.1", "READ", *LABELS), ("4.1", "OPEN", *LABELS)
    assert found[catalog.OPERATIONS, read] == 30
    assert found[catalog.OPERATION_RATE, read] == 5
    assert found[catalog.OPERATION_RATE, opened] == 0
    assert found[catalog.ERRORS, (*opened, "NOENT")] == 2
    assert found[catalog.ERROR_RATE, (*opened, "NOENT")] == 0
    assert found[catalog.READ_BYTES, read] == 3000
    assert found[catalog.READ_RATE, read] == 5
    assert found[catalog.COPY_BYTES, ("4.2", "COPY", *LABELS)] == 7
    assert not select(found, catalog.WRITE_BYTES, catalog.WRITE_RATE)
    assert found[catalog.RPCS, ("4.1", "COMPOUND", "executed")] == 9
    assert found[catalog.OPERATIONS_MAP_ENTRIES, ()] == 12


def test_rates_of_exports_and_of_clients() -> None:
    """Also of those without rows."""
    found = make(DELTA)
    assert found[catalog.EXPORT_OPERATION_RATE, ("/srv",)] == 10
    assert found[catalog.EXPORT_READ_RATE, ("/srv",)] == 2000
    assert found[catalog.EXPORT_WRITE_RATE, ("/srv",)] == 0
    assert found[catalog.CLIENT_OPERATION_RATE, ("10.0.0.7",)] == 7
    assert found[catalog.CLIENT_OPERATION_RATE, ("10.0.0.8",)] == 3


def test_histogram_is_cumulative() -> None:
    found = make(DELTA)
    buckets = {
        key[1][-1]: value for key, value in found.items() if key[0] is catalog.REQUEST_SECONDS
    }
    assert list(buckets)[:3] == ["1.6e-05", "3.2e-05", "6.4e-05"]
    assert list(buckets)[-3:] == ["16.777216", "+Inf", SUM]
    assert len(buckets) == 21 + 2
    assert {buckets[le] for le in list(buckets)[:-2]} == {4}  # the last took 2^29 us, or more
    assert (buckets["+Inf"], buckets[SUM]) == (5, 5.0)


def test_bounds_of_the_histogram_are_exact() -> None:
    """As decimal numbers, too: a bucket of the kernel lies on one side of each."""
    texts = [sample.labels[-1] for sample in select(make(DELTA), catalog.REQUEST_SECONDS)][
        : len(BOUNDS)
    ]
    assert [round(float(text) * 10**6) for text in texts] == [2**n for n in BOUNDS]
    assert all(float(later) == 2 * float(earlier) for earlier, later in pairwise(texts))


def test_quantiles_are_those_of_the_interval() -> None:
    found = make(DELTA)
    for metric in (catalog.REQUEST_P50, catalog.REQUEST_P95, catalog.REQUEST_P99):
        assert found[metric, ("3", "READ", "")] == 8e-6
    assert found[catalog.BUSY_THREADS, ()] == 0.5


@pytest.mark.parametrize(
    "metric",
    [
        catalog.OPERATION_RATE,
        catalog.ERROR_RATE,
        catalog.READ_RATE,
        catalog.WRITE_RATE,
        catalog.THREAD_WAIT_P95,
        catalog.REQUEST_P50,
        catalog.REQUEST_P95,
        catalog.REQUEST_P99,
        catalog.BUSY_THREADS,
        catalog.EXPORT_OPERATION_RATE,
        catalog.CLIENT_OPERATION_RATE,
    ],
)
def test_nothing_is_derived_from_an_interval_of_unknown_length(metric: Metric) -> None:
    state = OperationsState(is_up=True, map_max_entries=1, tells_waits=True)
    assert not select(make(DELTA, state, timed=False), metric)


def test_what_the_kernel_does_not_tell_is_missing() -> None:
    times = (catalog.REQUEST_SECONDS, catalog.REQUEST_P50, catalog.BUSY_THREADS)
    without = OperationsState(is_up=True, map_max_entries=1, tells_times=False)
    assert not select(make(DELTA, without), *times)
    assert not select(make(DELTA), catalog.THREAD_WAIT_SECONDS, catalog.THREADS)


def test_waits() -> None:
    state = OperationsState(is_up=True, map_max_entries=1, tells_waits=True)
    found = make(DELTA, state)
    waits = catalog.THREAD_WAIT_SECONDS
    assert found[waits, ("1.6e-05",)] == 0
    assert found[waits, ("3.2e-05",)] == found[waits, ("+Inf",)] == 2
    assert found[waits, (SUM,)] == 0.001
    assert found[catalog.THREAD_WAIT_P95, ()] == 16e-6
    assert not select(make(DELTA, state, timed=False), catalog.THREAD_WAIT_P95)


def test_before_the_first_dump() -> None:
    state = OperationsState(
        is_up=False,
        map_max_entries=1024,
        threads=8,
        uncounted={("3", "READ"): 4},
        uncounted_bytes={"read": 4096},
    )
    assert make(None, state) == {
        (catalog.OPERATIONS_UP, ()): 0,
        (catalog.OPERATIONS_MAP_MAX_ENTRIES, ()): 1024,
        (catalog.THREADS, ()): 8,
        (catalog.UNCOUNTED, ("3", "READ")): 4,
        (catalog.UNCOUNTED_BYTES, ("read",)): 4096,
    }


def test_percentiles_by_client_come_with_those_of_all() -> None:
    """Three fast requests of one client and one slow one of another: the median is fast."""
    fast, slow = TimeCell("3", "READ", 4), TimeCell("3", "READ", 20)
    times = {"a": Tally({fast: 3}, {fast: 3}), "b": Tally({slow: 1}, {slow: 1})}
    found = make(replace(DELTA, times=times))
    medians = {sample.labels[-1]: sample.value for sample in select(found, catalog.REQUEST_P50)}
    assert medians == {"a": 2**4 / 1e6, "b": 2**20 / 1e6, "": 2**4 / 1e6}

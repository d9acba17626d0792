"""What programs read of an interval."""

from nfszbx import catalog
from nfszbx import catalog_operations as operations
from nfszbx.document import make_document
from nfszbx.operation_sums import ALL, sum_operations
from nfszbx.samples import Sample, Samples
from tests.operations import make_operations


def make(operations: tuple[Sample, ...] | None) -> Samples:
    health = (Sample(catalog.CHILD_UP, (), 1), Sample(catalog.INTERVAL_SECONDS, (), 10.0000004))
    return Samples(1_790_000_000.5, complete=True, samples=health, operations=operations)


def test_without_news_of_operations_nothing_is_said_of_them() -> None:
    assert make_document(make(None)) == {
        "time": 1_790_000_000.5,
        "complete": True,
        "services": {},
        "clients": [],
        "health": {"child_up": 1, "interval_seconds": 10.0},
    }
    assert make_document(make(()))["operations"] == []


def test_operations_in_rows_and_what_the_server_says() -> None:
    document = make_document(make(make_operations(("10.0.0.1", "::1"))))
    assert [row["client"] for row in document["operations"]] == ["10.0.0.1", "::1"]
    assert document["operations"][0] == {
        "version": "4.2",
        "operation": "READ",
        "client": "10.0.0.1",
        "export": "/srv/nfs/projects",
        "operations_total": 7,
        "operations_per_second": 2.0,
        "read_bytes_total": 2**53 - 1,
        "read_bytes_per_second": 100.0,
        "errors_total": {"STALE": 3},
        "errors_per_second": {"STALE": 0.5},
    }
    assert document["latency"] == [
        {
            "version": "4.2",
            "operation": "READ",
            "request_p50_seconds": 0.000128,
            "request_p95_seconds": 0.000256,
            "request_p99_seconds": 0.000256,
        }
    ]
    assert document["nfs"] == {
        "export_operations_per_second": {"/srv/nfs/projects": 4.0},
        "export_read_bytes_per_second": {"/srv/nfs/projects": 200.0},
        "export_write_bytes_per_second": {"/srv/nfs/projects": 0.0},
        "client_operations_per_second": {"10.0.0.1": 2.0, "::1": 2.0},
        "thread_wait_p95_seconds": 0.000256,
        "requests_total": {"4": {"COMPOUND": {"executed": 12}}},
        "threads": 8,
        "threads_busy": 0.25,
        "up": 1,
        "map_entries": 9,
        "map_max_entries": 32_768,
        "uncounted_operations_total": {"4": {"GETATTR": 2}},
        "uncounted_bytes_total": {"read": 100, "write": 0},
    }
    assert document["health"] == {"child_up": 1, "interval_seconds": 10.0}


def test_sums() -> None:
    """Of two clients with three exports each, by whatever one looks at."""
    exports = ("/a", "/b", "/c")
    sums = sum_operations(make_operations(("10.0.0.1", "::1"), exports))
    rate, read = operations.OPERATION_RATE, operations.READ_RATE
    assert sums.is_timed
    assert (sums.server[rate], sums.server[operations.ERROR_RATE], sums.server[read]) == (
        12,
        3,
        600,
    )
    assert sums.server[operations.WRITE_RATE] == 0
    assert sums.server[operations.THREADS] == 8
    assert (sums.server[operations.UNCOUNTED], sums.server[operations.UNCOUNTED_BYTES]) == (2, 100)
    assert sums.operations == {
        ("4.2", "READ"): {
            rate: 12,
            operations.ERROR_RATE: 3,
            operations.REQUEST_P50: 0.000128,
            operations.REQUEST_P95: 0.000256,
            operations.REQUEST_P99: 0.000256,
        }
    }
    assert sums.exports == {
        (export,): {rate: 4, read: 200, operations.WRITE_RATE: 0} for export in exports
    }
    assert sums.clients == {("10.0.0.1",): {rate: 6}, ("::1",): {rate: 6}}


def test_sums_where_labels_are_switched_off() -> None:
    sample = Sample(operations.OPERATION_RATE, ("3", "", "", "", "1000"), 5.0)
    sums = sum_operations(
        [
            sample,
            Sample(operations.REQUEST_P95, ("3", "", "::1"), 1.0),
            Sample(operations.CLIENT_OPERATION_RATE, ("other",), 5.0),
            Sample(operations.EXPORT_OPERATION_RATE, ("other",), 5.0),
        ]
    )
    assert list(sums.operations) == [("3", ALL)]
    assert operations.REQUEST_P95 not in sums.operations["3", ALL]  # it is that of a client
    assert sums.clients == {("other",): {operations.OPERATION_RATE: 5.0}}
    assert sums.exports["other",][operations.OPERATION_RATE] == 5.0


def test_sums_of_unknown_rates_are_unknown() -> None:
    counters = [s for s in make_operations() if s.metric is not operations.OPERATION_RATE]
    sums = sum_operations([s for s in counters if s.metric.name.endswith("_total")])
    assert not sums.is_timed
    assert set(sums.server) == {operations.UNCOUNTED, operations.UNCOUNTED_BYTES}
    assert not sums.operations

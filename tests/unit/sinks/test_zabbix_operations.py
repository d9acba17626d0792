"""What Zabbix is told of NFS operations: bounded, steady, and together always the whole."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nfszbx import catalog_operations as operations
from nfszbx.config import ZabbixConfig
from nfszbx.operations.counts import OperationsCounters
from nfszbx.operations.dump import DataOperation, Kind, OperationsDump, Origin, Request
from nfszbx.operations.samples import OperationsState, make_operation_samples
from nfszbx.samples import Sample, Samples
from nfszbx.sinks.zabbix import ZabbixDocuments
from nfszbx.sinks.zabbix_operations import SECONDS_PER_DAY, OperationsDocuments
from nfszbx.zabbix_keys import OPERATIONS_KEY, TOTALS_KEY
from tests.operations import make_operations
from tests.sinks.test_zabbix import make_samples

BEGIN = 1_790_000_000.0
CONFIG = ZabbixConfig(max_exports=2, max_clients=3)


def make(
    documents: OperationsDocuments, made: tuple[Sample, ...], seconds: float = 0
) -> dict[str, Any]:
    samples = Samples(BEGIN + seconds, complete=True, samples=(), operations=made)
    document = documents.make_document(samples)
    assert document
    return document


def rates(rows: list[dict[str, Any]]) -> dict[str, float]:
    return {row["id"]: row["operations_per_second"] for row in rows}


def test_document(tmp_path: Path) -> None:
    made = make(OperationsDocuments(CONFIG, tmp_path), make_operations())
    assert made == {
        "time": BEGIN,
        "nfs": {
            "operations_per_second": 2.0,
            "errors_per_second": 0.5,
            "read_bytes_per_second": 100.0,
            "write_bytes_per_second": 0,
            "thread_wait_p95_seconds": 0.000256,
            "threads": 8,
            "threads_busy": 0.25,
            "up": 1,
            "map_entries": 9,
            "map_max_entries": 32_768,
            "uncounted_operations_total": 2,
            "uncounted_bytes_total": 100,
        },
        "operations": [
            {
                "id": "4.2 READ",
                "version": "4.2",
                "operation": "READ",
                "operations_per_second": 2.0,
                "errors_per_second": 0.5,
                "request_p50_seconds": 0.000128,
                "request_p95_seconds": 0.000256,
                "request_p99_seconds": 0.000256,
            }
        ],
        "exports": [
            {
                "id": "/srv/nfs/projects",
                "export": "/srv/nfs/projects",
                "operations_per_second": 2.0,
                "read_bytes_per_second": 100.0,
                "write_bytes_per_second": 0,
            },
            {
                "id": "other",
                "export": "other",
                "operations_per_second": 0,
                "read_bytes_per_second": 0,
                "write_bytes_per_second": 0,
            },
        ],
        "clients": [
            {"id": "10.0.0.1", "client": "10.0.0.1", "operations_per_second": 2.0},
            {"id": "other", "client": "other", "operations_per_second": 0},
        ],
    }


def test_no_more_than_the_busiest_are_shown_and_the_rest_is_other(tmp_path: Path) -> None:
    busy = make_operations(("a", "b"), ("/x",), rate=9.0)
    quiet = make_operations(("c", "d", "e"), ("/y", "/z"), rate=1.0)
    made = make(OperationsDocuments(CONFIG, tmp_path), (*busy, *quiet))
    assert rates(made["exports"]) == {"/x": 18, "/y": 3, "other": 3}
    assert rates(made["clients"]) == {"a": 9, "b": 9, "c": 2, "other": 4}
    assert made["nfs"]["operations_per_second"] == 24


def test_what_was_shown_stays_also_over_a_restart(tmp_path: Path) -> None:
    """Until it has been idle for the retention; then its place is free."""
    documents = OperationsDocuments(CONFIG, tmp_path)
    make(documents, make_operations(("a",), ("/x", "/y")))
    documents.write_down()
    documents = OperationsDocuments(CONFIG, tmp_path)
    made = make(documents, make_operations(("b",), ("/y", "/z"), rate=50), 3 * SECONDS_PER_DAY)
    assert rates(made["exports"]) == {"/x": 0, "/y": 50, "other": 50}
    assert made["exports"][0]["read_bytes_per_second"] == 0
    assert rates(made["clients"]) == {"a": 0, "b": 100, "other": 0}
    made = make(documents, make_operations(("b",), ("/y", "/z"), rate=50), 8 * SECONDS_PER_DAY)
    assert rates(made["exports"]) == {"/y": 50, "/z": 50, "other": 0}


SECOND = 10**9
READ = Request(3, 0, 0, Kind.EXECUTED, 0, 6)
READ_BYTES = DataOperation(3, 0, 6)
NOWHERE = Path("/nonexistent")
INTERVALS = st.lists(
    st.lists(st.tuples(st.integers(1, 6), st.integers(1, 4), st.integers(1, 99)), max_size=20),
    min_size=1,
    max_size=6,
)
"""Of each, a client, an export and how often one read from the other."""


@given(INTERVALS, st.integers(1, 30), st.integers(1, 5), st.integers(1, 7))
@example([[(client, 1, client) for client in range(1, 6)]], 2, 200, 500)
def test_sums_are_right_however_few_rows_there_are(
    intervals: list[list[tuple[int, int, int]]], max_rows: int, max_exports: int, max_clients: int
) -> None:
    """Each export and client that is shown has all that is its own, and ``other`` the rest."""
    counters = OperationsCounters(
        ("client", "export", "operation"), max_rows, 3600, lambda mount, _: f"/srv/{mount}"
    )
    config = ZabbixConfig(max_exports=max_exports, max_clients=max_clients)
    documents = OperationsDocuments(config, NOWHERE)
    reads: Counter[Origin] = Counter()
    seen: Counter[tuple[str, str]] = Counter()
    for second, interval in enumerate(intervals, start=1):
        truth: Counter[tuple[str, str]] = Counter()
        for client, export, count in interval:
            reads[Origin(f"10.0.0.{client}", export, 0, 0)] += count
            truth["exports", f"/srv/{export}"] += count
            truth["clients", f"10.0.0.{client}"] += count
        delta = counters.advance(
            OperationsDump(
                0,
                second * SECOND,
                {(READ, origin): count for origin, count in reads.items()},
                {(READ_BYTES, origin): 512 * count for origin, count in reads.items()},
            )
        )
        state = OperationsState(is_up=True, map_max_entries=1024)
        document = make(documents, make_operation_samples(delta, state, timed=True), second)
        seen |= truth
        for table, max_shown in (("exports", max_exports), ("clients", max_clients)):
            shown = rates(document[table])
            others = shown.pop("other")
            assert shown == {name: truth[table, name] for name in shown}
            assert others == document["nfs"]["operations_per_second"] - sum(shown.values())
            if sum(kind == table for kind, _ in seen) <= max_shown:
                assert others == 0
        assert document["nfs"]["operations_per_second"] == sum(n for *_, n in interval)
        for row in document["exports"]:
            assert row["read_bytes_per_second"] == 512 * row["operations_per_second"]


def test_what_is_other_already_stays_it(tmp_path: Path) -> None:
    """That is, where clients or exports are not told apart."""
    made = make(OperationsDocuments(CONFIG, tmp_path), make_operations(("other",), ("other", "/x")))
    assert rates(made["exports"]) == {"/x": 2, "other": 2}
    assert rates(made["clients"]) == {"other": 4}


@pytest.mark.parametrize("made", [(), (Sample(operations.OPERATIONS_UP, (), 0),)])
def test_unknown_rates_are_left_out_and_no_list_is_empty(
    made: tuple[Sample, ...], tmp_path: Path
) -> None:
    document = make(OperationsDocuments(CONFIG, tmp_path), made)
    assert document["exports"] == [{"id": "other", "export": "other"}]
    assert document["clients"] == [{"id": "other", "client": "other"}]
    assert "operations_per_second" not in document["nfs"]


def test_server_that_has_been_asked_nothing_yet(tmp_path: Path) -> None:
    """Nothing is then zero, and not unknown."""
    made = (Sample(operations.OPERATIONS_UP, (), 1), Sample(operations.BUSY_THREADS, (), 0.0))
    document = make(OperationsDocuments(CONFIG, tmp_path), made)
    assert document["nfs"]["operations_per_second"] == 0
    assert rates(document["exports"]) == {"other": 0}
    assert document["operations"] == []


def test_they_are_sent_when_there_are_new_ones(tmp_path: Path) -> None:
    """And the totals are as without them."""
    documents = ZabbixDocuments(ZabbixConfig(), tmp_path)
    plain = make_samples(BEGIN)
    assert OPERATIONS_KEY not in [e.topic for e in documents.make_entries(plain)]
    with_operations = replace(plain, unix_seconds=BEGIN + 10, operations=make_operations())
    entries = {entry.topic: entry for entry in documents.make_entries(with_operations)}
    assert json.loads(entries[OPERATIONS_KEY].text)["nfs"]["threads"] == 8
    assert set(json.loads(entries[TOTALS_KEY].text)) == {"time", "complete", "services", "health"}
    assert entries[OPERATIONS_KEY].unix_ns == entries[TOTALS_KEY].unix_ns
    documents.keep(plain)
    documents.close()

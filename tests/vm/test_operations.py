"""NFS operations equal the kernel's own counts, and bytes those that moved, on every kernel."""

import json
from collections import Counter
from collections.abc import Iterator
from statistics import mean, median
from typing import Any

import pytest

from tests.vm.lab import Lab

pytestmark = pytest.mark.timeout(1800)

BUCKET_SECONDS = 2**18 / 1e6
NO_WAIT_SECONDS = 0.05
NEARLY = 0.8
"""Some intervals stand for all of them."""
MIN_OPERATIONS = 100
MIN_VERSIONS = 4
MIN_NAMES = 30
"""Different operations of NFS 3 and 4 in the work that is measured."""


@pytest.fixture(scope="module")
def results(lab: Lab) -> dict[str, Any]:
    """By what was measured; of numbers that must be equal, pairs of what was counted and true."""
    way = lab.row.ways[0]
    lab.run(f"python3 -m tests.vm.guest count-operations {way}")
    said = lab.run(f"python3 -m tests.vm.guest.operations {way}")
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    lab.notes += describe(found)
    return found


def describe(results: dict[str, Any]) -> Iterator[str]:
    tcp, transports = results["tcp"], results["transports"]
    for title, pairs, unit in (
        ("over TCP", tcp["operations"], "operations"),
        ("by client and export", tcp["calls"], "calls of clients"),
        ("read", tcp["bytes"]["read"], "bytes"),
        ("written", tcp["bytes"]["write"], "bytes"),
        ("copied", tcp["bytes"]["copy"], "bytes"),
        ("over UDP and RDMA", transports["operations"], "operations"),
    ):
        total = sum(true for _, true in pairs.values())
        wrong = len(find_differences(pairs))
        yield f"NFS {title}: {total} {unit} of {len(pairs)} kinds, {wrong} differ"


def find_differences(pairs: dict[str, tuple[int, int]]) -> list[str]:
    return [f"{name}: {a} counted, {b} true" for name, (a, b) in pairs.items() if a != b]


def assert_equal(lab: Lab, measured: dict[str, Any]) -> None:
    """Both truths. A preemptible kernel may miss some: those that nfszbx itself says, and no other.

    Of which client they were, nobody knows.
    """
    missed = Counter(measured["uncounted"])
    assert lab.row.inexact_ways or not missed
    pairs = measured["operations"].items()
    told = {name: (count + missed[name], true) for name, (count, true) in pairs}
    assert len(told) >= MIN_NAMES
    assert not find_differences(told)
    calls = measured["calls"].values()
    assert sum(true for _, true in calls) > MIN_OPERATIONS
    assert all(counted <= true for counted, true in calls)
    assert sum(true - counted for counted, true in calls) <= missed.total()


def test_operations_and_calls_equal_what_kernel_and_clients_count(
    lab: Lab, results: dict[str, Any]
) -> None:
    """Of every name in /proc/net/rpc/nfsd; and by client, export and version."""
    assert_equal(lab, results["tcp"])


@pytest.mark.parametrize("kind", ["read", "write", "copy"])
def test_bytes_are_those_that_moved(results: dict[str, Any], kind: str) -> None:
    """By client, export and version; of short reads what came, of a copy what the server copied."""
    pairs = results["tcp"]["bytes"][kind]
    assert sum(count for _, count in pairs.values()) > 100_000
    assert not find_differences(pairs)


def test_bytes_of_a_user(results: dict[str, Any]) -> None:
    """Of one among others, by client, export and version."""
    assert len(results["tcp"]["users"]) >= 2 * MIN_VERSIONS
    assert not find_differences(results["tcp"]["users"])


def test_what_became_of_requests(results: dict[str, Any]) -> None:
    """One was sent twice and answered from the cache; one could not be decoded."""
    assert not find_differences(results["tcp"]["results"])


def test_operations_over_udp_and_rdma(lab: Lab, results: dict[str, Any]) -> None:
    """The same."""
    assert_equal(lab, results["transports"])


@pytest.mark.parametrize("version", ["3", "4.2"])
def test_latency_is_the_delay_of_the_device(results: dict[str, Any], version: str) -> None:
    """Reads of a device that takes 150 ms: the median is the upper bound of that bucket."""
    assert median(results["latency"][version]) == BUCKET_SECONDS


def test_requests_wait_for_the_only_thread(results: dict[str, Any]) -> None:
    """As long as the other client's take, and no longer: not for what their own client did.

    In many intervals: a machine that is busy otherwise has others, too.
    """
    values = results["waits"]["1"]
    assert set(values["threads"]) == {1}
    waits = sorted(values["thread_wait_p95_seconds"])
    assert waits[len(waits) // 4] == BUCKET_SECONDS
    (at_the_device,) = values["busy_at_the_device"]
    assert NEARLY * at_the_device < mean(values["threads_busy"]) <= 1.1


def test_no_request_waits_when_there_are_threads(results: dict[str, Any]) -> None:
    values = results["waits"]["8"]
    assert set(values["threads"]) == {8}
    assert median(values["thread_wait_p95_seconds"]) < NO_WAIT_SECONDS

"""A clock that is set, and a machine that sleeps: real ones, in a machine of their own."""

import json
from itertools import pairwise
from typing import Any

import pytest

from tests.vm.lab import Lab

pytestmark = pytest.mark.timeout(1800)

HOURS = 5
SLEEP_SECONDS = 20


def read_documents(lab: Lab, way: str) -> list[dict[str, Any]]:
    lines = lab.run(f"cat /run/counting/{way}.jsonl").splitlines()
    return [json.loads(line) for line in lines[:-1]]  # the last one may be under way


def assert_nothing_is_wrong(documents: list[dict[str, Any]]) -> None:
    """No counter falls, no rate is below zero, nothing was missed and nothing restarted."""
    for before, after in pairwise(documents):
        assert after["complete"]
        for service, totals in before["services"].items():
            for field, value in totals.items():
                if field.endswith("_total"):
                    assert after["services"].get(service, totals)[field] >= value
                else:
                    assert value >= 0
    assert set(documents[-1]["health"]["child_restarts_total"].values()) == {0}


def test_clock_is_set_forwards_and_back(lab: Lab) -> None:
    """By hours, with date; the bytes that flow afterwards are right to the byte."""
    way = lab.row.ways[0]
    known = len(read_documents(lab, way))
    for hours in (HOURS, -HOURS):
        lab.run(f"date -s @$(($(date +%s) + {hours * 3600}))")
        lab.run("sleep 15")
    documents = read_documents(lab, way)[known:]
    jumps = [after["time"] - before["time"] for before, after in pairwise(documents)]
    assert max(jumps) > (HOURS - 0.1) * 3600
    assert min(jumps) < -(HOURS - 0.1) * 3600
    assert_nothing_is_wrong(documents)
    for measurement in lab.measure("nfs_ipv4"):
        assert measurement.find_differences(way) == []


def test_machine_sleeps(lab: Lab) -> None:
    """Until its clock wakes it: one long interval, and nothing is taken for a hung bpftrace."""
    way = lab.row.ways[0]
    known = len(read_documents(lab, way))
    lab.run(f"rtcwake -m freeze -s {SLEEP_SECONDS}")
    lab.run("sleep 15")
    documents = read_documents(lab, way)[known:]
    assert max(d["health"]["interval_seconds"] for d in documents) > SLEEP_SECONDS - 5
    assert_nothing_is_wrong(documents)
    for measurement in lab.measure("nfs_ipv4"):
        assert measurement.find_differences(way) == []

"""A clock that is set: a real one, in a machine of its own."""

import json
from typing import Any

import pytest

from tests.vm.lab import Lab

pytestmark = pytest.mark.timeout(1800)

HOURS = 5
SECONDS_PER_HOUR = 3600


def read_intervals(lab: Lab, seconds: int) -> dict[str, Any]:
    """Of the last so many seconds; nothing that could be wrong is."""
    said = lab.run(f"python3 -m tests.vm.guest intervals {lab.row.ways[0]} {seconds}")
    found: dict[str, Any] = json.loads(said.splitlines()[0])
    assert (found["incomplete"], found["falls"], found["restarts"]) == (0, 0, 0)
    assert found["rates"] > 0
    assert found["least_rate"] >= 0
    return found


def assert_bytes_are_right(lab: Lab) -> None:
    for measurement in lab.measure("nfs_ipv4"):
        assert measurement.find_differences(lab.row.ways[0]) == []


def test_clock_is_set_forwards_and_back(lab: Lab) -> None:
    """By hours, with date; the bytes that flow afterwards are right to the byte."""
    for hours in (HOURS, -HOURS):
        lab.run(f"date -s @$(($(date +%s) + {hours * SECONDS_PER_HOUR}))")
        lab.run("sleep 10")
    found = read_intervals(lab, 60)
    assert found["largest_jump_seconds"] > (HOURS - 0.1) * SECONDS_PER_HOUR
    assert found["least_jump_seconds"] < -(HOURS - 0.1) * SECONDS_PER_HOUR
    assert_bytes_are_right(lab)

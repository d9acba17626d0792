"""A clock that is set: a real one, in a machine of its own."""

import json
from typing import Any

import pytest

from tests.vm.lab import Lab

pytestmark = pytest.mark.timeout(1800)

HOURS = 5
WAIT_SECONDS = 10
SECONDS_PER_HOUR = 3600


def read_intervals(lab: Lab, seconds: int) -> dict[str, Any]:
    """Of the last so many seconds; nothing that could be wrong is."""
    said = lab.run(f"python3 -m tests.vm.guest intervals {lab.row.ways[0]} {seconds}")
    found: dict[str, Any] = json.loads(said.splitlines()[0])
    assert (found["incomplete"], found["falls"], found["restarts"]) == (0, 0, 0)
    assert found["rates"] > 0
    assert found["least_rate"] >= 0
    return found


def test_clock_is_set_forwards_and_back(lab: Lab) -> None:
    """By hours, with date. It comes first: the other tests find every byte afterwards."""
    lab.run(f"sleep {WAIT_SECONDS}")
    for hours in (HOURS, -HOURS):
        lab.run(f"date -s @$(($(date +%s) + {hours * SECONDS_PER_HOUR}))")
        lab.run(f"sleep {WAIT_SECONDS}")
    found = read_intervals(lab, 3 * WAIT_SECONDS)
    assert found["largest_jump_seconds"] > (HOURS - 0.1) * SECONDS_PER_HOUR
    assert found["least_jump_seconds"] < -(HOURS - 0.1) * SECONDS_PER_HOUR

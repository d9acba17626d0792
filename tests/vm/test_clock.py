"""A clock that is set, and one that stands still: real ones, in a machine of its own."""

import json
import time
from typing import Any

import pytest

from tests.vm.lab import Lab

pytestmark = pytest.mark.timeout(1800)

HOURS = 5
WAIT_SECONDS = 10
SECONDS_PER_HOUR = 3600
MIN_SUSPENDED_SECONDS = 4.0


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
    begin = time.monotonic()
    for hours in (HOURS, -HOURS):
        lab.run(f"date -s @$(($(date +%s) + {hours * SECONDS_PER_HOUR}))")
        lab.run(f"sleep {WAIT_SECONDS}")
    found = read_intervals(lab, int(time.monotonic() - begin) + WAIT_SECONDS)
    assert found["largest_jump_seconds"] > (HOURS - 0.1) * SECONDS_PER_HOUR
    assert found["least_jump_seconds"] < -(HOURS - 0.1) * SECONDS_PER_HOUR


def test_machine_is_suspended(lab: Lab) -> None:
    """All the way, without the firmware: devices, processors and clocks stop for five seconds.

    The kernel wakes itself then (``pm_test``, Documentation/power/basic-pm-debugging.rst).
    """
    begin = time.monotonic()
    lab.run(f"sleep {WAIT_SECONDS}")
    before = read_suspended_seconds(lab)
    lab.run("echo core >/sys/power/pm_test")
    lab.run("echo mem >/sys/power/state")
    assert read_suspended_seconds(lab) - before > MIN_SUSPENDED_SECONDS
    lab.run(f"echo none >/sys/power/pm_test; sleep {WAIT_SECONDS}")
    found = read_intervals(lab, int(time.monotonic() - begin))
    assert found["largest_jump_seconds"] > MIN_SUSPENDED_SECONDS


def read_suspended_seconds(lab: Lab) -> float:
    """Since boot: for so long one of the kernel's clocks stood still."""
    read = "time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()"
    return float(lab.run(f"python3 -c 'import time; print({read})'").splitlines()[0])

"""On every kernel, nfszbx counts what the kernel's sockets count, to the byte."""

import json

import pytest

from tests.vm.lab import Lab

pytestmark = pytest.mark.timeout(1800)

# Tracepoints see what TLS carries, not TLS itself; nfszbx says so (ways.py).
COUNTED_OTHERWISE = {("nfs_tls", "tracepoint")}


def test_the_planner_prefers_an_exact_way(lab: Lab) -> None:
    plan = json.loads(lab.run("python3 -m nfszbx check --json"))["plan"]
    assert not plan["obstacles"]
    for choice in plan["choices"]:
        assert choice["chosen"]["way"] == lab.row.ways[0]
        assert choice["chosen"]["exact"]
        possible = [
            c["way"] for c in choice["candidates"] if c["available"]["presence"] == "present"
        ]
        assert sorted(possible) == sorted(lab.row.ways)
        for candidate in choice["candidates"]:
            is_exact = candidate["exact"] and candidate["way"] in possible
            assert is_exact == (candidate["way"] in lab.exact_ways)
            assert is_exact or candidate["way"] not in possible or candidate["limits"]


def test_equals_the_sockets_of_the_kernel(lab: Lab, scenario: str) -> None:
    measurements = lab.measure(scenario)
    ways = [way for way in lab.exact_ways if (scenario, way) not in COUNTED_OTHERWISE]
    assert not lab.comparison.add(measurements, ways)
    for measurement in measurements:
        assert len(measurement.clients) >= 3
        assert measurement.kernel_bytes > 1000

"""What the scenarios in a machine print, read and judged on this side."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

_PREFIX = "result "


@dataclass(frozen=True)
class Row:
    """One client and direction in one measurement; all counts in bytes."""

    service: str
    client: str
    direction: str
    kernel_bytes: int
    counted_bytes: Mapping[str, int]
    """By the name of what counted."""


@dataclass(frozen=True)
class Measurement:
    """One piece of work, as the kernel's sockets and everything that counted saw it."""

    workload: str
    rows: tuple[Row, ...]

    @property
    def clients(self) -> set[str]:
        return {row.client for row in self.rows}

    @property
    def kernel_bytes(self) -> int:
        return sum(row.kernel_bytes for row in self.rows)

    def find_differences(self, counter: str) -> list[str]:
        """The rows in which that counter is wrong."""
        return [
            f"{self.workload}: {row.service} {row.client} {row.direction}: kernel "
            f"{row.kernel_bytes}, {counter} {row.counted_bytes[counter]} "
            f"({row.counted_bytes[counter] - row.kernel_bytes:+d})"
            for row in self.rows
            if row.counted_bytes[counter] != row.kernel_bytes
        ]


def read_measurements(output: str) -> list[Measurement]:
    """The measurements in the output of a scenario."""
    return [
        _make_measurement(json.loads(line.removeprefix(_PREFIX)))
        for line in output.splitlines()
        if line.startswith(_PREFIX)
    ]


def _make_measurement(data: Mapping[str, Any]) -> Measurement:
    return Measurement(data["workload"], tuple(Row(**row) for row in data["rows"]))


@dataclass
class Comparison:
    """What was measured, and how the ways that must not be wrong by a byte have done."""

    measurements: list[Measurement] = field(default_factory=list)
    compared_bytes: int = 0
    differences: list[str] = field(default_factory=list)

    def add(self, measurements: Iterable[Measurement], exact_ways: Iterable[str]) -> list[str]:
        """Compare some more; their differences."""
        differences = []
        ways = list(exact_ways)
        for measurement in measurements:
            self.measurements.append(measurement)
            for way in ways:
                self.compared_bytes += measurement.kernel_bytes
                differences += measurement.find_differences(way)
        self.differences += differences
        return differences

    def describe(self) -> str:
        """Workloads run, bytes compared, differences."""
        return (
            f"{len(self.measurements)} workloads, {self.compared_bytes:,} bytes compared, "
            f"differences: {len(self.differences)}"
        )

"""The programs that count while the scenarios run, all at once on the same traffic."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.processes import wait_until_gone
from tests.vm.guest.truth import Flow

FOLDER = Path("/run/counting")
INTERVAL_SECONDS = 2
START_TIMEOUT_SECONDS = 300.0
_CONFIG = f"""\
interval_seconds = {INTERVAL_SECONDS}
max_clients = 10000
log_level = "debug"
audit_interval_seconds = 10
[services.smbd]
ports = [445]
[services.ksmbd]
ports = [1445]
[operations]
"""
_WITHOUT_OPERATIONS = "enabled = false\n"
_WITH_OPERATIONS = f"""\
interval_seconds = {INTERVAL_SECONDS}
labels = ["client", "export", "operation", "user"]
"""


@dataclass(frozen=True)
class Way:
    """An nfszbx that counts in one way."""

    name: str

    @property
    def documents(self) -> Path:
        return FOLDER / f"{self.name}.jsonl"

    @property
    def log(self) -> Path:
        return FOLDER / f"{self.name}.log"

    @property
    def _configuration(self) -> Path:
        return FOLDER / f"{self.name}.toml"

    @property
    def _pid(self) -> Path:
        return FOLDER / f"{self.name}.pid"

    def start(self, operations: str) -> None:
        """Start it; it ends with the machine. It goes on from the values of an earlier start."""
        self._configuration.write_text(_CONFIG + operations)
        command = [sys.executable, "-m", "nfszbx", "run", "--way", self.name, "--sink", "console"]
        with self.documents.open("ab") as documents, self.log.open("ab") as log:
            process = subprocess.Popen(
                [*command, "--config", str(self._configuration)],
                stdout=documents,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, "NFSZBX_STATE_DIRECTORY": str(FOLDER / f"{self.name}-state")},
            )
        self._pid.write_text(f"{process.pid}\n")

    def count_operations(self) -> None:
        """Begin with that, unless it does already."""
        if _WITH_OPERATIONS in self._configuration.read_text():
            return
        pid = int(self._pid.read_text())
        os.kill(pid, signal.SIGTERM)
        if not wait_until_gone(pid, START_TIMEOUT_SECONDS):
            raise RuntimeError(f"{self.name} does not end: {self.log.read_text()}")
        self.start(_WITH_OPERATIONS)
        self.wait_for_document(time.time(), START_TIMEOUT_SECONDS)

    def read_last(self) -> dict[str, Any] | None:
        """The last whole document; None before the first one."""
        with self.documents.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 1_000_000))
            lines = file.read().split(b"\n")[:-1]
        return dict(json.loads(lines[-1])) if lines else None

    def wait_for_document(
        self, after_unix_seconds: float, timeout_seconds: float
    ) -> dict[str, Any]:
        """The first document of an interval that ended after that time."""
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            document = self.read_last()
            if document and document["complete"] and document["time"] > after_unix_seconds:
                return document
            time.sleep(0.1)
        raise RuntimeError(f"{self.name} brings no values: {self.log.read_text()}")


def started_ways() -> list[Way]:
    """Those that were started."""
    return [Way(path.stem) for path in sorted(FOLDER.glob("*.jsonl"))]


def start_ways(names: list[str], *, with_operations: bool) -> None:
    """Start an nfszbx for each way and wait until all count; the first, operations, if asked."""
    FOLDER.mkdir(parents=True)
    for number, name in enumerate(names):
        is_first = with_operations and number == 0
        Way(name).start(_WITH_OPERATIONS if is_first else _WITHOUT_OPERATIONS)
    for name in names:
        Way(name).wait_for_document(0.0, START_TIMEOUT_SECONDS)


def list_drifts(name: str) -> tuple[int, list[str]]:
    """The audits that an nfszbx has made, and what drift they have found, each kind once."""
    audits = 0
    drifts: dict[str, None] = {}
    for line in Way(name).documents.read_text().splitlines()[:-1]:
        health = json.loads(line)["health"]
        audits = health["audits_total"]
        for service, directions in health.get("drift_ratio", {}).items():
            for direction, ratio in directions.items():
                if ratio:
                    drifts[f"{service} {direction} {ratio:+}"] = None
    return audits, list(drifts)


def wait_for_all() -> None:
    """Until every nfszbx has measured an interval that ends after now."""
    now = time.time()
    for way in started_ways():
        way.wait_for_document(now, START_TIMEOUT_SECONDS)


def describe_intervals(name: str, seconds: float) -> dict[str, Any]:
    """What an nfszbx has said in the last so many seconds of its intervals, in a few numbers."""
    lines = Way(name).documents.read_text().splitlines()[:-1]
    documents = [json.loads(line) for line in lines][-int(seconds / INTERVAL_SECONDS) :]
    totals = [
        [value for field, value in sorted(row.items()) if field.endswith("_total")]
        for document in documents
        for _, row in sorted(document["services"].items())
    ]
    services = len(documents[-1]["services"])
    rates = [
        value
        for document in documents
        for row in document["services"].values()
        for field, value in row.items()
        if field.endswith("_per_second")
    ]
    jumps = [after["time"] - before["time"] for before, after in pairwise(documents)]
    return {
        "intervals": len(documents),
        "incomplete": sum(not document["complete"] for document in documents),
        "falls": sum(
            after < before
            for old, new in zip(totals, totals[services:], strict=False)
            for before, after in zip(old, new, strict=True)
        ),
        "rates": len(rates),
        "least_rate": min(rates),
        "largest_jump_seconds": max(jumps),
        "least_jump_seconds": min(jumps),
        "restarts": sum(documents[-1]["health"]["child_restarts_total"].values()),
    }


def wait_for_flow(name: str) -> None:
    """Until every nfszbx measures it: it has a total, be it zero, and the interval is whole."""
    for way in started_ways():
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while True:
            document = way.wait_for_document(time.time(), START_TIMEOUT_SECONDS)
            if name in document["services"]:
                break
            if time.monotonic() > deadline:
                raise RuntimeError(f"{way.name} does not measure {name}: {way.log.read_text()}")


def read_counts(after_unix_seconds: float) -> dict[str, Counter[Flow]]:
    """By way, what it had counted at a moment after that time."""
    counts = {}
    for way in started_ways():
        document = way.wait_for_document(after_unix_seconds, 60.0)
        counts[way.name] = Counter(
            {
                Flow(row["id"].split()[0], row["client"], direction): row[
                    f"{direction}_bytes_total"
                ]
                for row in document["clients"]
                for direction in ("receive", "transmit")
            }
        )
    return counts

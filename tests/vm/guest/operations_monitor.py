"""What nfszbx and the kernel have counted of NFS operations at a moment."""

import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from nfszbx.operations.kernel_counts import parse_kernel_counts
from tests.vm.guest.counting import INTERVAL_SECONDS, START_TIMEOUT_SECONDS, Way

MAX_BYTES = 10_000_000
"""Of documents that are looked at."""
ATTEMPTS = 10
NOT_IN_PROC = "NFSACL_"
"""Beginning of the names of what ``/proc/net/rpc/nfsd`` does not count."""


class Key(NamedTuple):
    """Whose operations."""

    version: str
    operation: str
    client: str
    export: str
    user: str


Names = tuple[str, ...]


class Counts(NamedTuple):
    """What was counted so far."""

    rows: dict[str, Counter[Key]]
    """By field of the documents."""
    requests: Counter[Names]
    """By version, procedure and what became of them."""
    kernel: Counter[Names]
    """The kernel's own count: by version (2, 3 or 4) and operation."""
    uncounted: Counter[Names]
    """What nfszbx says itself that it has missed of that."""

    def since(self, earlier: "Counts") -> "Counts":
        """What was counted in between."""
        return Counts(
            {
                name: counts - earlier.rows.get(name, Counter())
                for name, counts in self.rows.items()
            },
            self.requests - earlier.requests,
            self.kernel - earlier.kernel,
            self.uncounted - earlier.uncounted,
        )


class Monitor:
    """Reads what an nfszbx tells of operations."""

    def __init__(self, way: Way) -> None:
        self._way = way

    def wait(self) -> dict[str, Any]:
        """The first document with operations of a dump that was made after now."""
        earliest = time.time() + INTERVAL_SECONDS  # the dump may be as old when it is published
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            for document in self.list_since(earliest):
                return document
            time.sleep(0.2)
        raise RuntimeError(f"no operations: {self._way.log.read_text()}")

    def list_since(self, unix_seconds: float) -> list[dict[str, Any]]:
        """The documents with operations of intervals that ended after that time, of late."""
        with self._way.documents.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - MAX_BYTES))
            lines = file.read().split(b"\n")[1:-1]  # the first is not whole
        documents: list[dict[str, Any]] = []
        for line in lines:
            document = json.loads(line)
            if documents and document["time"] < documents[-1]["time"]:
                documents.clear()  # the clock was set back, as a test does
            documents.append(document)
        return [
            document
            for document in documents
            if document["time"] > unix_seconds and document.get("nfs", {}).get("up")
        ]

    def read(self) -> Counts:
        """What both sides have counted at a moment when no client does anything."""
        for _ in range(ATTEMPTS):
            kernel = _read_kernel_counts()
            document = self.wait()
            if _read_kernel_counts() == kernel:
                rows, requests = _read_rows(document), _read_requests(document)
                return Counts(rows, requests, kernel, _read_uncounted(document))
        raise RuntimeError("the clients do not come to rest")


def _read_kernel_counts() -> Counter[Names]:
    text = Path("/proc/net/rpc/nfsd").read_text()
    return Counter[Names](dict(parse_kernel_counts(text).items()))


def _read_rows(document: dict[str, Any]) -> dict[str, Counter[Key]]:
    counts: dict[str, Counter[Key]] = {}
    for row in document["operations"]:
        key = Key(*(row[name] for name in Key._fields))
        for field, value in row.items():
            if field.endswith("_total") and not isinstance(value, dict):  # by status
                counts.setdefault(field, Counter())[key] += value
    return counts


def _read_requests(document: dict[str, Any]) -> Counter[Names]:
    return Counter[Names](
        {
            (version, procedure, result): count
            for version, procedures in document["nfs"].get("requests_total", {}).items()
            for procedure, results in procedures.items()
            for result, count in results.items()
        }
    )


def _read_uncounted(document: dict[str, Any]) -> Counter[Names]:
    return Counter[Names](
        {
            (version, operation): count
            for version, operations in document["nfs"].get("uncounted_operations_total", {}).items()
            for operation, count in operations.items()
        }
    )

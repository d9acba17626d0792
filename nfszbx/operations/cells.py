"""The counters of NFS operations: what each counts, and which of them a request belongs to."""

from collections.abc import Collection
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from nfszbx.operations.dump import Call, DataOperation, Kind, Request
from nfszbx.operations.names import (
    COMPOUND_VERSION,
    DATA_OPERATIONS,
    expand_shape,
    find_principal,
    name_operation,
    name_procedure,
    name_status,
    name_version,
)

_RESULTS = {
    Kind.EXECUTED: "executed",
    Kind.CACHED: "cached",
    Kind.DROPPED: "dropped",
    Kind.UNDECODABLE: "undecodable",
    Kind.ACL: "executed",
}
_COMPOUND = 1
"""The number of that procedure."""
_MAX_REMEMBERED = 4096
"""Kinds of requests; a server sees a few dozen."""


class What(StrEnum):
    """What a cell counts."""

    OPERATIONS = "operations"
    ERRORS = "errors"
    READ_BYTES = "read"
    WRITE_BYTES = "write"
    COPY_BYTES = "copy"


class Row(NamedTuple):
    """Whose operations, and where: labels, empty if switched off."""

    client: str
    export: str
    user: str


class Cell(NamedTuple):
    """A counter of a row."""

    what: What
    version: str
    operation: str
    """Empty if that label is switched off."""
    status: str = ""
    """Of errors."""


class TimeCell(NamedTuple):
    """A counter of how long requests took."""

    version: str
    operation: str
    bucket: int | None
    """As in :data:`Buckets`; None is the sum of the times, in nanoseconds."""


class Outcome(NamedTuple):
    """What requests were, and what became of them."""

    version: str
    """``4`` where the minor version is not known."""
    procedure: str
    result: str


class Labels:
    """Finds the counters, with the labels that are switched on."""

    def __init__(self, labels: Collection[str]) -> None:
        """Those of the settings: client, export, operation, user."""
        self._labels = frozenset(labels)
        # Every request of a kind has the same.
        self.list_cells = lru_cache(_MAX_REMEMBERED)(self._make_cells)
        """Of a :class:`Request`: one for each operation, and one for the error if there is one."""
        self.make_data_cell = lru_cache(_MAX_REMEMBERED)(self._make_data_cell)
        """Of a :class:`DataOperation`: that of the bytes it has moved."""

    def make_row(self, client: str, export: str, user: str) -> Row:
        """Without what is switched off."""
        labels = self._labels
        return Row(
            client if "client" in labels else "",
            export if "export" in labels else "",
            user if "user" in labels else "",
        )

    def _make_cells(self, request: Request) -> tuple[Cell, ...]:
        operations = list_operations(request)
        if not operations:
            return ()
        version = name_version(request.version, request.minor)
        labels = [name if "operation" in self._labels else "" for name in operations]
        cells = [Cell(What.OPERATIONS, version, operation) for operation in labels]
        if request.status:
            status = name_status(request.version, request.status)
            cells.append(Cell(What.ERRORS, version, labels[-1], status))
        return tuple(cells)

    def _make_data_cell(self, operation: DataOperation) -> Cell:
        name = name_operation(operation.version, operation.number)
        return Cell(
            What(DATA_OPERATIONS[name]),
            name_version(operation.version, operation.minor),
            name if "operation" in self._labels else "",
        )

    def name_call(self, call: Call) -> tuple[str, str]:
        """Version and operation that the time of a request is booked to."""
        request = Request(call.version, call.minor, 0, Kind.EXECUTED, 0, call.shape)
        version, operation, _ = name_outcome(request)
        if operations := list_operations(request):
            operation = find_principal(operations)
        return version, operation if "operation" in self._labels else ""


def list_operations(request: Request) -> tuple[str, ...]:
    """What was carried out. The procedures of version 4 are no operations."""
    if request.kind not in {Kind.EXECUTED, Kind.ACL}:
        return ()
    if request.version == COMPOUND_VERSION:
        return expand_shape(request.shape)
    is_acl = request.kind is Kind.ACL
    return (name_procedure(request.version, request.shape, is_acl=is_acl),)


def has_handle(request: Request) -> bool:
    """Was it about a file, whether the server has found that or not?"""
    if request.version == COMPOUND_VERSION:
        return "PUTFH" in list_operations(request)
    return request.shape != 0  # NULL, of NFSACL as well


def name_outcome(request: Request) -> Outcome:
    """``COMPOUND``, ``executed``."""
    version, procedure = request.version, request.shape
    name = name_version(version, request.minor)
    if version == COMPOUND_VERSION:
        if request.kind is Kind.EXECUTED and request.shape:
            procedure = _COMPOUND
        else:
            name = str(version)
    is_acl = request.kind is Kind.ACL
    return Outcome(name, name_procedure(version, procedure, is_acl=is_acl), _RESULTS[request.kind])

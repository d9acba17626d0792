"""Turns dump after dump into counters of NFS operations that only grow.

The kernel's counters are cumulative and begin at zero with each child; here what they have grown by
is added to what was before, so that a new child goes on where the last one has left off. The work
is that of comparing two dumps, and beyond that goes with what has changed.

Two things are decided once, when something is added: which row it belongs to, and the path of its
export. What is booked stays booked, so no counter ever goes backwards: requests whose export could
not be resolved at that time stay with ``unknown``, and only later ones are told by the path.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from nfszbx.errors import DumpError
from nfszbx.growth import find_base, find_growth
from nfszbx.operations.cells import (
    Cell,
    Labels,
    Outcome,
    Row,
    TimeCell,
    What,
    has_handle,
    list_operations,
    name_outcome,
)
from nfszbx.operations.dump import (
    Buckets,
    Call,
    DataOperation,
    Kind,
    OperationsDump,
    Origin,
    Request,
)
from nfszbx.operations.names import COMPOUND_VERSION
from nfszbx.operations.tallies import Tallies, Tally
from nfszbx.traffic import OTHER

NO_EXPORT = "none"
"""The export of what has no file handle."""
UNKNOWN_EXPORT = "unknown"
"""That of what has one which was not resolved, by the server or where its reply is read."""
_NOT_TOLD = -1
"""Instead of a mount, where there is a handle."""


@dataclass(frozen=True)
class OperationsDelta:
    """What happened up to a dump, and between it and the one before or the child's begin."""

    end_ns: int
    elapsed_ns: int
    """Above zero."""
    rows: Mapping[Row, Tally[Cell]]
    exports: Mapping[str, Mapping[What, int]]
    """Operations and bytes in the interval by export alone, of every one that had any, whether it
    has rows or not; ``other`` where exports are not told apart."""
    clients: Mapping[str, Mapping[What, int]]
    """The same by client."""
    times: Mapping[str, Tally[TimeCell]]
    """By client, or ``other``; under the empty text where times are not told by client."""
    interval_waits: Buckets
    """Of requests for a thread."""
    waits: Buckets
    """The same since counting began, like the three below."""
    waited_ns: int
    requests: Mapping[Outcome, int]
    operations: Mapping[tuple[str, str], int]
    """By version (``4`` for all of its minors) and operation, as the kernel counts them in
    ``/proc/net/rpc/nfsd``: in versions 2 and 3 every request, whatever became of it, but not
    NFSACL; in version 4 what was carried out."""
    moved_bytes: Mapping[str, int]
    """By ``read``, ``write`` and ``copy``. The kernel counts the first two there as well."""
    map_entries: int
    """Of the fullest of the kernel's maps."""


class OperationsCounters:
    """The state between dumps."""

    def __init__(
        self,
        labels: Collection[str],
        max_rows: int,
        idle_seconds: float,
        find_export: Callable[[int, int], str],
        *,
        latency_by_client: bool = False,
    ) -> None:
        """``labels`` are those of the settings: client, export, operation, user.

        ``find_export`` tells the path of an export by mount and inode, ``unknown`` if there is
        none; it is asked once for each export in a dump that adds something to it. A row that
        has been idle for longer than ``idle_seconds`` is not shown.
        """
        self._labels = Labels(labels)
        self._find_export = find_export
        self._by_client = latency_by_client
        other = self._labels.make_row(OTHER, OTHER, OTHER)
        self._rows = Tallies[Row, Cell](other, max_rows, idle_seconds)
        other_client = OTHER if latency_by_client else ""
        self._times = Tallies[str, TimeCell](other_client, max_rows, idle_seconds)
        self._waits: Counter[int] = Counter()
        self._waited_ns = 0
        self._requests: Counter[Outcome] = Counter()
        self._operations: Counter[tuple[str, str]] = Counter()
        self._moved_bytes: Counter[str] = Counter()
        self._child: OperationsDump | None = None
        """The last usable dump."""

    def limit(self, max_rows: int, idle_seconds: float) -> None:
        """From the next dump on."""
        self._rows.limit(max_rows, idle_seconds)
        self._times.limit(max_rows, idle_seconds)

    def advance(self, dump: OperationsDump) -> OperationsDelta | None:
        """What the dump adds; None when it repeats the one before.

        Raises :class:`DumpError`, and leaves the counters as they were, for a dump that cannot
        follow the one before: an older one, one that lacks an entry, or one that counts less.
        """
        base = find_base(self._child, dump, OperationsDump)
        if base is None:
            return None
        if dump.latency and not dump.requests:
            raise DumpError("incomplete dump: times without requests")
        requests = {
            (request, _mark_handle(origin) if has_handle(request) else origin): count
            for (request, origin), count in find_growth(
                base.requests, dump.requests, "request"
            ).items()
        }
        moved = {
            (operation, _mark_handle(origin)): count
            for (operation, origin), count in find_growth(
                base.moved_bytes, dump.moved_bytes, "operation"
            ).items()
        }
        spent = find_growth(base.spent_ns, dump.spent_ns, "time of")
        latency = _find_latency_growth(base, dump)
        waits = find_growth(base.waits, dump.waits, "wait")
        rows = self._name_rows(origin for each in (requests, moved) for _, origin in each)

        self._child = dump
        is_new_child = base.end_ns == base.begin_ns
        activity = self._sum_activity(rows, requests, moved)
        self._rows.begin_interval(activity[What.OPERATIONS], dump.end_ns, is_new_child=is_new_child)
        self._add_rows(rows, requests, moved)
        self._add_times(latency, spent, dump.end_ns, is_new_child=is_new_child)
        self._add_totals(requests)
        for (operation, _), count in moved.items():
            self._moved_bytes[self._labels.make_data_cell(operation).what] += count
        self._waits.update(waits)
        self._waited_ns += dump.waited_ns - base.waited_ns
        return OperationsDelta(
            end_ns=dump.end_ns,
            elapsed_ns=dump.end_ns - base.end_ns,
            rows=self._rows.read(),
            exports=_sum_by(activity, lambda row: row.export),
            clients=_sum_by(activity, lambda row: row.client),
            times=self._times.read(),
            interval_waits=waits,
            waits=dict(self._waits),
            waited_ns=self._waited_ns,
            requests=dict(self._requests),
            operations=dict(self._operations),
            moved_bytes=dict(self._moved_bytes),
            map_entries=dump.map_entries,
        )

    def _sum_activity(
        self,
        rows: Mapping[Origin, Row],
        requests: Mapping[tuple[Request, Origin], int],
        moved: Mapping[tuple[DataOperation, Origin], int],
    ) -> dict[What, dict[Row, int]]:
        """Operations and bytes of all who would have a row; all of them have operations."""
        # Bytes may be ahead of the request that moved them.
        operations = {rows[origin]: 0 for _, origin in moved}
        activity = {What.OPERATIONS: operations}
        for (request, origin), count in requests.items():
            if names := list_operations(request):
                row = rows[origin]
                operations[row] = operations.get(row, 0) + count * len(names)
        for (operation, origin), count in moved.items():
            added = activity.setdefault(self._labels.make_data_cell(operation).what, {})
            row = rows[origin]
            added[row] = added.get(row, 0) + count
        return activity

    def _add_rows(
        self,
        rows: Mapping[Origin, Row],
        requests: Mapping[tuple[Request, Origin], int],
        moved: Mapping[tuple[DataOperation, Origin], int],
    ) -> None:
        # Most rows may be hidden: what they have in common is put together before it is expanded.
        by_row: defaultdict[Row, dict[Request, int]] = defaultdict(dict)
        places = {origin: self._rows.find_row(row) for origin, row in rows.items()}
        for (request, origin), count in requests.items():
            kinds = by_row[places[origin]]
            kinds[request] = kinds.get(request, 0) + count
        for row, kinds in by_row.items():
            for request, count in kinds.items():
                for cell in self._labels.list_cells(request):
                    self._rows.add(row, cell, count)
        for (operation, origin), count in moved.items():
            self._rows.add(places[origin], self._labels.make_data_cell(operation), count)

    def _add_times(
        self,
        latency: Mapping[tuple[Call, str], Buckets],
        spent: Mapping[tuple[Call, str], int],
        end_ns: int,
        *,
        is_new_child: bool,
    ) -> None:
        activity: dict[str, int] = {}
        for (_, address), buckets in latency.items():
            client = self._name_client(address)
            activity[client] = activity.get(client, 0) + sum(buckets.values())
        for _, address in spent:
            activity.setdefault(self._name_client(address), 0)
        self._times.begin_interval(activity, end_ns, is_new_child=is_new_child)
        for (call, address), buckets in latency.items():
            version, operation = self._labels.name_call(call)
            for bucket, count in buckets.items():
                cell = TimeCell(version, operation, bucket)
                self._times.add(self._name_client(address), cell, count)
        for (call, address), count in spent.items():
            cell = TimeCell(*self._labels.name_call(call), None)
            self._times.add(self._name_client(address), cell, count)

    def _name_client(self, address: str) -> str:
        return address if self._by_client else ""

    def _add_totals(self, requests: Mapping[tuple[Request, Origin], int]) -> None:
        kinds: dict[Request, int] = {}
        for (request, _), count in requests.items():
            kinds[request] = kinds.get(request, 0) + count
        for request, count in kinds.items():
            if request.chunk == 0:
                outcome = name_outcome(request)
                self._requests[outcome] += count
                if request.version != COMPOUND_VERSION and request.kind is not Kind.ACL:
                    self._operations[outcome.version, outcome.procedure] += count
            if request.version == COMPOUND_VERSION:
                for operation in list_operations(request):
                    self._operations[str(COMPOUND_VERSION), operation] += count

    def _name_rows(self, origins: Iterable[Origin]) -> dict[Origin, Row]:
        exports: dict[tuple[int, int], str] = {
            (0, 0): NO_EXPORT,
            (_NOT_TOLD, 0): UNKNOWN_EXPORT,
        }
        rows: dict[Origin, Row] = {}
        for origin in origins:
            if origin not in rows:
                key = origin.mount, origin.inode
                if key not in exports:
                    exports[key] = self._find_export(*key)
                rows[origin] = self._labels.make_row(origin.client, exports[key], str(origin.user))
        return rows


def _mark_handle(origin: Origin) -> Origin:
    """Of what has a handle: no export is then one that is not told."""
    return origin if origin.mount or origin.inode else origin._replace(mount=_NOT_TOLD)


def _sum_by(
    activity: Mapping[What, Mapping[Row, int]], name: Callable[[Row], str]
) -> dict[str, Counter[What]]:
    sums: defaultdict[str, Counter[What]] = defaultdict(Counter)
    for what, rows in activity.items():
        for row, count in rows.items():
            sums[name(row) or OTHER][what] += count
    return dict(sums)


def _find_latency_growth(
    base: OperationsDump, dump: OperationsDump
) -> dict[tuple[Call, str], Buckets]:
    gone = base.latency.keys() - dump.latency.keys()
    if gone:
        raise DumpError(f"incomplete dump: times of {next(iter(gone))} are missing")
    return {
        key: find_growth(before, buckets, f"times of {key}")
        for key, buckets in dump.latency.items()
        if (before := base.latency.get(key, {})) != buckets
    }

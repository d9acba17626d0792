"""Samples of NFS operations, as they come of a server that works."""

from collections.abc import Iterator

from nfszbx import catalog_operations as operations
from nfszbx.samples import Sample

BOUNDS = ("6.4e-05", "0.000128", "0.000256", "+Inf")


def make_operations(
    clients: tuple[str, ...] = ("10.0.0.1",),
    exports: tuple[str, ...] = ("/srv/nfs/projects",),
    rate: float = 2.0,
) -> tuple[Sample, ...]:
    """Each client reads 100 bytes per second from each export, in so many READs."""
    rows = [
        sample
        for client in clients
        for export in exports
        for sample in _make_row(("4.2", "READ", client, export, ""), rate)
    ]
    sums = [
        *(sample for export in exports for sample in _make_export(export, len(clients), rate)),
        *(Sample(operations.CLIENT_OPERATION_RATE, (c,), rate * len(exports)) for c in clients),
    ]
    return (*rows, *sums, *_make_server(len(clients) * len(exports)))


def _make_export(export: str, clients: int, rate: float) -> Iterator[Sample]:
    yield Sample(operations.EXPORT_OPERATION_RATE, (export,), rate * clients)
    yield Sample(operations.EXPORT_READ_RATE, (export,), 100.0 * clients)
    yield Sample(operations.EXPORT_WRITE_RATE, (export,), 0.0)


def _make_row(labels: tuple[str, ...], rate: float) -> Iterator[Sample]:
    yield Sample(operations.OPERATIONS, labels, 7)
    yield Sample(operations.OPERATION_RATE, labels, rate)
    yield Sample(operations.READ_BYTES, labels, 2**53 - 1)
    yield Sample(operations.READ_RATE, labels, 100.0)
    yield Sample(operations.ERRORS, (*labels, "STALE"), 3)
    yield Sample(operations.ERROR_RATE, (*labels, "STALE"), 0.5)


def _make_server(requests: int) -> Iterator[Sample]:
    read = ("4.2", "READ", "")
    for bound, count in zip(BOUNDS, (0, 1, 2, 2), strict=True):
        yield Sample(operations.REQUEST_SECONDS, (*read, bound), count * requests)
        yield Sample(operations.THREAD_WAIT_SECONDS, (bound,), count)
    yield Sample(operations.REQUEST_SECONDS, (*read, "sum"), 0.000317)
    yield Sample(operations.THREAD_WAIT_SECONDS, ("sum",), 0.000211)
    yield Sample(operations.REQUEST_P50, read, 0.000128)
    yield Sample(operations.REQUEST_P95, read, 0.000256)
    yield Sample(operations.REQUEST_P99, read, 0.000256)
    yield Sample(operations.THREAD_WAIT_P95, (), 0.000256)
    yield Sample(operations.RPCS, ("4", "COMPOUND", "executed"), 12)
    yield Sample(operations.THREADS, (), 8)
    yield Sample(operations.BUSY_THREADS, (), 0.25)
    yield Sample(operations.OPERATIONS_UP, (), 1)
    yield Sample(operations.OPERATIONS_MAP_ENTRIES, (), 9)
    yield Sample(operations.OPERATIONS_MAP_MAX_ENTRIES, (), 32_768)
    yield Sample(operations.UNCOUNTED, ("4", "GETATTR"), 2)
    yield Sample(operations.UNCOUNTED_BYTES, ("read",), 100)
    yield Sample(operations.UNCOUNTED_BYTES, ("write",), 0)

"""NFS operations in few numbers: by operation, by export and by client, each without the others."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from nfszbx import catalog_operations as catalog
from nfszbx.metric import Kind, Metric
from nfszbx.samples import Sample

Key = tuple[str, ...]
Row = dict[Metric, float]

SERVER_RATES = (
    catalog.OPERATION_RATE,
    catalog.ERROR_RATE,
    catalog.READ_RATE,
    catalog.WRITE_RATE,
)
OPERATION_RATES = (catalog.OPERATION_RATE, catalog.ERROR_RATE)
# Not made of rows, of which there may be too few for all exports and clients.
OF_EXPORTS = {
    catalog.EXPORT_OPERATION_RATE: catalog.OPERATION_RATE,
    catalog.EXPORT_READ_RATE: catalog.READ_RATE,
    catalog.EXPORT_WRITE_RATE: catalog.WRITE_RATE,
}
OF_CLIENTS = {catalog.CLIENT_OPERATION_RATE: catalog.OPERATION_RATE}
EXPORT_RATES = tuple(OF_EXPORTS.values())
CLIENT_RATES = tuple(OF_CLIENTS.values())
LATENCIES = tuple(
    metric
    for metric in catalog.METRICS
    if metric.labels == catalog.LATENCY_LABELS and metric.kind is Kind.RATE
)
UNCOUNTED = (catalog.UNCOUNTED, catalog.UNCOUNTED_BYTES)
"""Told of the whole server, too."""
SERVER_NUMBERS = tuple(metric for metric in catalog.METRICS if not metric.labels)
_OF_TIMED = {catalog.OPERATION_RATE, catalog.BUSY_THREADS}
"""Of which one is there when the length of the interval is known."""
ALL = "all"
"""Name of the operation where operations are not told apart."""


@dataclass
class OperationSums:
    """Rates in sums; a rate that is not known is missing."""

    is_timed: bool
    """True when rates are known."""
    server: Row = field(default_factory=dict)
    operations: dict[Key, Row] = field(default_factory=dict)
    """By version and operation, with the times of requests where there were any."""
    exports: dict[Key, Row] = field(default_factory=dict)
    clients: dict[Key, Row] = field(default_factory=dict)


def sum_operations(samples: Iterable[Sample]) -> OperationSums:
    """The sums; without exports or clients as labels, everything is ``other`` there.

    An export or a client that has done nothing is missing.
    """
    samples = tuple(samples)
    sums = OperationSums(any(sample.metric in _OF_TIMED for sample in samples))
    if sums.is_timed:
        _add(sums.server, SERVER_RATES, {})
    for metric, labels, value in samples:
        if metric in SERVER_NUMBERS:
            sums.server[metric] = value
        elif metric in UNCOUNTED:
            sums.server[metric] = sums.server.get(metric, 0) + value
        elif metric in LATENCIES:
            version, operation, client = labels
            if not client:
                sums.operations.setdefault((version, operation or ALL), {})[metric] = value
        elif metric in SERVER_RATES:
            version, operation = labels[:2]
            rate = {metric: value}
            _add(sums.server, SERVER_RATES, rate)
            _add(sums.operations.setdefault((version, operation or ALL), {}), OPERATION_RATES, rate)
        elif metric in OF_EXPORTS:
            sums.exports.setdefault(labels, {})[OF_EXPORTS[metric]] = value
        elif metric in OF_CLIENTS:
            sums.clients.setdefault(labels, {})[OF_CLIENTS[metric]] = value
    return sums


def add_rows(row: Row, other: Mapping[Metric, float]) -> None:
    """Add the other row to the row."""
    _add(row, tuple(other), other)


def _add(row: Row, metrics: tuple[Metric, ...], values: Mapping[Metric, float]) -> None:
    for metric in metrics:
        row[metric] = row.get(metric, 0) + values.get(metric, 0)

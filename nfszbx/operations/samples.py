"""Turns counters of NFS operations into samples; the only place that converts their units."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from nfszbx import catalog_operations as catalog
from nfszbx.metric import SUM, Metric
from nfszbx.operations.cells import Cell, Row, TimeCell, What
from nfszbx.operations.counts import OperationsDelta
from nfszbx.operations.kernel_counts import KernelCounts
from nfszbx.operations.quantiles import bound_seconds, find_quantile
from nfszbx.operations.tallies import Tally
from nfszbx.samples import NANOSECONDS_PER_SECOND, Sample

BOUNDS = tuple(range(4, 25))
"""Powers of two of microseconds, from 16 us to 16.8 s: where the kernel's buckets end as well."""

_COUNTERS: Mapping[What, tuple[Metric, Metric | None]] = {
    What.OPERATIONS: (catalog.OPERATIONS, catalog.OPERATION_RATE),
    What.ERRORS: (catalog.ERRORS, catalog.ERROR_RATE),
    What.READ_BYTES: (catalog.READ_BYTES, catalog.READ_RATE),
    What.WRITE_BYTES: (catalog.WRITE_BYTES, catalog.WRITE_RATE),
    What.COPY_BYTES: (catalog.COPY_BYTES, None),
}
"""Each with its rate."""
_EXPORT_RATES = {
    What.OPERATIONS: catalog.EXPORT_OPERATION_RATE,
    What.READ_BYTES: catalog.EXPORT_READ_RATE,
    What.WRITE_BYTES: catalog.EXPORT_WRITE_RATE,
}
_CLIENT_RATES = {What.OPERATIONS: catalog.CLIENT_OPERATION_RATE}
_QUANTILES = {50: catalog.REQUEST_P50, 95: catalog.REQUEST_P95, 99: catalog.REQUEST_P99}


@dataclass(frozen=True)
class OperationsState:
    """What is to be told beside the counters."""

    is_up: bool
    """Operations are counted now."""
    map_max_entries: int
    tells_times: bool = True
    """The kernel tells how long requests take."""
    tells_waits: bool = False
    """And how long they wait for a thread."""
    threads: int | None = None
    """That nfsd has; None if not known."""
    uncounted: KernelCounts = field(default_factory=dict)
    """See :class:`Uncounted`."""
    uncounted_bytes: Mapping[str, int] = field(default_factory=dict)
    """The same of bytes, by direction."""


def make_operation_samples(
    delta: OperationsDelta | None, state: OperationsState, *, timed: bool
) -> tuple[Sample, ...]:
    """The samples of an interval; ``delta`` is None before the first dump.

    Rates, quantiles and busy threads are missing unless the interval was ``timed``: its length is
    known, and the delta is new. A quantile of no requests is missing, too.
    """
    samples = [
        Sample(catalog.OPERATIONS_UP, (), int(state.is_up)),
        Sample(catalog.OPERATIONS_MAP_MAX_ENTRIES, (), state.map_max_entries),
    ]
    if state.threads is not None:
        samples.append(Sample(catalog.THREADS, (), state.threads))
    samples += [
        Sample(catalog.UNCOUNTED, key, count) for key, count in sorted(state.uncounted.items())
    ]
    samples += [
        Sample(catalog.UNCOUNTED_BYTES, (direction,), count)
        for direction, count in sorted(state.uncounted_bytes.items())
    ]
    if delta is None:
        return tuple(samples)
    seconds = delta.elapsed_ns / NANOSECONDS_PER_SECOND if timed else None
    samples.append(Sample(catalog.OPERATIONS_MAP_ENTRIES, (), delta.map_entries))
    samples += [
        Sample(catalog.RPCS, tuple(outcome), count)
        for outcome, count in sorted(delta.requests.items())
    ]
    for row, tally in sorted(delta.rows.items()):
        samples += _row_samples(row, tally, seconds)
    if seconds is not None:
        samples += _sum_samples(delta.exports, _EXPORT_RATES, seconds)
        samples += _sum_samples(delta.clients, _CLIENT_RATES, seconds)
    if state.tells_times:
        samples += _time_samples(delta, seconds)
    if state.tells_waits:
        times = delta.waits, delta.waited_ns
        samples += _histogram_samples(catalog.THREAD_WAIT_SECONDS, (), *times)
        if timed and delta.interval_waits:
            p95 = find_quantile(delta.interval_waits, 95)
            samples.append(Sample(catalog.THREAD_WAIT_P95, (), p95))
    return tuple(samples)


def _row_samples(row: Row, tally: Tally[Cell], seconds: float | None) -> Iterator[Sample]:
    for cell, count in sorted(tally.total.items()):
        labels: tuple[str, ...] = (cell.version, cell.operation, *row)
        if cell.status:
            labels = (*labels, cell.status)
        counter, rate = _COUNTERS[cell.what]
        yield Sample(counter, labels, count)
        if rate is not None and seconds is not None:
            yield Sample(rate, labels, tally.interval.get(cell, 0) / seconds)


def _sum_samples(
    sums: Mapping[str, Mapping[What, int]], rates: Mapping[What, Metric], seconds: float
) -> Iterator[Sample]:
    for name, added in sorted(sums.items()):
        for what, rate in rates.items():
            yield Sample(rate, (name,), added.get(what, 0) / seconds)


def _time_samples(delta: OperationsDelta, seconds: float | None) -> Iterator[Sample]:
    """Of all clients together, too, where times are told by client."""
    spent_ns = 0
    of_all: dict[tuple[str, str], Counter[int]] = {}
    for client, tally in sorted(delta.times.items()):
        for name, times in sorted(_group_times(tally.total).items()):
            yield from _histogram_samples(catalog.REQUEST_SECONDS, (*name, client), *times)
        for name, (buckets, interval_ns) in sorted(_group_times(tally.interval).items()):
            spent_ns += interval_ns
            of_all.setdefault(name, Counter()).update(buckets)
            if seconds is not None and client:
                yield from _quantile_samples((*name, client), buckets)
    if seconds is not None:
        for name, sums in sorted(of_all.items()):
            yield from _quantile_samples((*name, ""), sums)
        yield Sample(catalog.BUSY_THREADS, (), spent_ns / delta.elapsed_ns)


def _quantile_samples(labels: tuple[str, ...], buckets: Mapping[int, int]) -> Iterator[Sample]:
    if buckets:
        for percent, metric in _QUANTILES.items():
            yield Sample(metric, labels, find_quantile(buckets, percent))


def _group_times(
    tally: Mapping[TimeCell, int],
) -> dict[tuple[str, str], tuple[dict[int, int], int]]:
    """By version and operation: how many in each bucket, and the sum in nanoseconds."""
    groups: dict[tuple[str, str], tuple[dict[int, int], int]] = {}
    for cell, count in tally.items():
        name = cell.version, cell.operation
        buckets, spent_ns = groups.get(name, ({}, 0))
        if cell.bucket is None:
            spent_ns += count
        else:
            buckets[cell.bucket] = count
        groups[name] = buckets, spent_ns
    return groups


def _histogram_samples(
    metric: Metric, labels: tuple[str, ...], buckets: Mapping[int, int], spent_ns: int
) -> Iterator[Sample]:
    for bound in BOUNDS:
        count = sum(count for bucket, count in buckets.items() if bucket <= bound)
        yield Sample(metric, (*labels, repr(bound_seconds(bound))), count)
    yield Sample(metric, (*labels, "+Inf"), sum(buckets.values()))
    yield Sample(metric, (*labels, SUM), spent_ns / NANOSECONDS_PER_SECOND)

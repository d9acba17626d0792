"""Turns a delta and the health into samples; the only place that converts units."""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import NamedTuple

from nfszbx import __version__, catalog
from nfszbx.counters import Bytes, Delta
from nfszbx.health import Health
from nfszbx.metric import Metric
from nfszbx.traffic import SLOTS, Direction, Slot

NANOSECONDS_PER_SECOND = 1_000_000_000

_TOTALS = {
    Direction.RECEIVE: (catalog.RECEIVE_BYTES, catalog.RECEIVE_RATE),
    Direction.TRANSMIT: (catalog.TRANSMIT_BYTES, catalog.TRANSMIT_RATE),
}
_ROWS = {
    Direction.RECEIVE: (catalog.CLIENT_RECEIVE_BYTES, catalog.CLIENT_RECEIVE_RATE),
    Direction.TRANSMIT: (catalog.CLIENT_TRANSMIT_BYTES, catalog.CLIENT_TRANSMIT_RATE),
}
_NOTHING = Bytes(0, 0)


ClientBytes = Mapping[tuple[Metric, tuple[str, ...]], Mapping[str, int]]
"""By the counter and its labels without the client, and then by client."""


class Sample(NamedTuple):
    """One value of one metric; ``labels`` in the order of the metric's label names."""

    metric: Metric
    labels: tuple[str, ...]
    value: float


@dataclass(frozen=True)
class Samples:
    """Everything there is to say about one interval."""

    unix_seconds: float
    """When the interval ended, on the wall clock."""
    complete: bool
    """True when all traffic of the interval was counted."""
    samples: tuple[Sample, ...]
    seconds: float | None = None
    """Length of the interval; None when no dump has ended it."""
    timed: bool = False
    """True when the length is known well enough for rates."""
    client_bytes: ClientBytes = field(default_factory=dict)
    """In the interval, of every client, with a row or not."""
    is_last: bool = False
    """True when counting ended with it."""
    operations: tuple[Sample, ...] | None = None
    """Of NFS operations, when there is something new to say of them: all there is."""
    number: int = 0
    """Of the interval in this run, from 1; 0 where nobody counts them."""


def make_samples(
    delta: Delta | None, health: Health, unix_seconds: float, *, measured: bool, timed: bool
) -> Samples:
    """The samples of an interval that a dump has ended (``measured``).

    Without a new dump, ``delta`` is the last one, None before the first. Rates are missing, since
    nobody knows them, unless the interval was ``timed`` as well: its length is known. What the plan
    does not measure is missing, too, rather than zero.
    """
    samples = [*_health_samples(delta, health)]
    if delta is not None:
        samples += _traffic_samples(delta, health.plan.measured_slots, timed=timed)
    complete = measured and delta is not None and delta.complete
    seconds = delta.elapsed_ns / NANOSECONDS_PER_SECOND if measured and delta else None
    client_bytes: ClientBytes = {
        (_ROWS[slot.direction][0], slot.flow): clients
        for slot, clients in (delta.clients if measured and delta else {}).items()
        if slot in health.plan.measured_slots
    }
    return Samples(unix_seconds, complete, tuple(samples), seconds, timed, client_bytes)


def _traffic_samples(delta: Delta, slots: Set[Slot], *, timed: bool) -> Iterator[Sample]:
    seconds = delta.elapsed_ns / NANOSECONDS_PER_SECOND if timed else None
    for slot, count in delta.totals.items():
        if slot in slots:
            counter, rate = _TOTALS[slot.direction]
            yield Sample(counter, slot.flow, count.total)
            if seconds is not None:
                yield Sample(rate, slot.flow, count.interval / seconds)
    shown: dict[Slot, set[str]] = {slot: set() for slot in SLOTS}
    for slot, client in delta.rows:
        shown[slot].add(client)
    # Both directions of every client that has a row, also where only one has seen traffic.
    for flow in sorted({slot.flow for slot in slots}):
        both = [Slot(flow.service, direction, flow.transport) for direction in Direction]
        for client in sorted(set().union(*(shown[slot] for slot in both))):
            labels = (*flow, client)
            for slot in both:
                if slot in slots:
                    counter, rate = _ROWS[slot.direction]
                    count = delta.rows.get((slot, client), _NOTHING)
                    yield Sample(counter, labels, count.total)
                    if seconds is not None:
                        yield Sample(rate, labels, count.interval / seconds)


def _health_samples(delta: Delta | None, health: Health) -> Iterator[Sample]:
    plan = health.plan
    yield Sample(catalog.BUILD_INFO, (__version__,), 1)
    for choice in plan.choices:
        way = choice.chosen.way if choice.chosen else "none"
        yield Sample(catalog.WAY_INFO, (choice.direction, way), 1)
    yield Sample(catalog.NOT_MEASURED, (), len(plan.omissions))
    yield Sample(catalog.CHILD_UP, (), int(health.child.is_up))
    yield Sample(catalog.CHILD_STATE, (), health.child.state)
    yield Sample(catalog.CRASH_LOOP, (), int(health.child.is_crash_loop))
    for reason, count in health.restarts.items():
        yield Sample(catalog.RESTARTS, (reason,), count)
    yield Sample(catalog.INTERVALS, (), health.intervals)
    yield Sample(catalog.INCOMPLETE_INTERVALS, (), health.incomplete_intervals)
    yield Sample(catalog.REFUSED_DUMPS, (), health.refused_dumps)
    yield Sample(catalog.LOST_EVENTS, (), health.lost_events)
    if health.missed_runs is not None:
        yield Sample(catalog.MISSED_RUNS, (), health.missed_runs)
    if health.last_dump_unix_seconds is not None:
        yield Sample(catalog.LAST_DUMP, (), health.last_dump_unix_seconds)
    if delta is not None:
        yield Sample(catalog.INTERVAL_SECONDS, (), delta.elapsed_ns / NANOSECONDS_PER_SECOND)
        yield Sample(catalog.MAP_ENTRIES, (), delta.map_entries)
    yield Sample(catalog.MAP_MAX_ENTRIES, (), plan.map_max_entries)
    if plan.audited:
        yield Sample(catalog.AUDITS, (), health.audits)
    for (service, direction), ratio in health.drift.items():
        yield Sample(catalog.DRIFT, (service, direction), ratio)
    yield from _gap_samples(health)
    yield Sample(catalog.STATE_KEPT, (), int(health.state_kept))
    yield Sample(catalog.SINKS_RESTARTS, (), health.sinks.restarts)
    for sink in health.sinks.each:
        yield Sample(catalog.SINK_STATE, (sink.name,), sink.state)
        yield Sample(catalog.SINK_QUEUE, (sink.name,), sink.queue_length)
        yield Sample(catalog.SINK_DELIVERED, (sink.name,), sink.delivered)
        yield Sample(catalog.SINK_DROPPED, (sink.name,), sink.dropped)
        yield Sample(catalog.SINK_ERRORS, (sink.name,), sink.errors)


def _gap_samples(health: Health) -> Iterator[Sample]:
    yield Sample(catalog.GAPS, (), health.gaps)
    yield Sample(catalog.GAP_SECONDS, (), health.gap_seconds)
    services = [service for group in health.plan.audited for service in group.services]
    for slot in (Slot(service, direction) for service in services for direction in Direction):
        count = health.recovered_bytes.get(slot, 0)
        yield Sample(catalog.RECOVERED, (slot.service, slot.direction), count)

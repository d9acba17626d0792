"""Rows of clients at a slower pace than the totals, and for a steady set of clients.

A monitoring system keeps items for every client that it has ever been shown, so the clients that
are shown must be few and must not come and go. All the others are part of ``other``.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from nfszbx import catalog
from nfszbx.counters import MAX_REMEMBERED
from nfszbx.metric import Metric
from nfszbx.samples import Sample, Samples
from nfszbx.traffic import OTHER

Row = tuple[str, ...]
"""Service, transport and client: the labels of a client's metrics."""

_RATES = {
    catalog.CLIENT_RECEIVE_BYTES: catalog.CLIENT_RECEIVE_RATE,
    catalog.CLIENT_TRANSMIT_BYTES: catalog.CLIENT_TRANSMIT_RATE,
}
_OF_TOTALS = {
    catalog.RECEIVE_BYTES: catalog.CLIENT_RECEIVE_BYTES,
    catalog.TRANSMIT_BYTES: catalog.CLIENT_TRANSMIT_BYTES,
}

MAX_FLOWED = 200_000
"""What is kept by client between two reports; beyond that, rows off the roster are ``other``."""
LEAST_LAST_SECONDS = 2.0
"""The end of counting is known to 0.2 s: a shorter last report would have wrong rates."""


@dataclass
class Roster:
    """The rows that may be shown: the first that came, each until it has been idle for long."""

    max_rows: int
    max_idle_seconds: float
    seen_unix_seconds: dict[Row, float] = field(default_factory=dict)
    """When each was last active."""

    def update(self, active: Iterable[Row], unix_seconds: float) -> None:
        """Take on the rows as far as there is room, the first ones first; let idle ones go."""
        for row in active:
            if row in self.seen_unix_seconds:
                self.seen_unix_seconds[row] = unix_seconds
        oldest = unix_seconds - self.max_idle_seconds
        kept = {row: seen for row, seen in self.seen_unix_seconds.items() if seen >= oldest}
        for row in active:
            if len(kept) < self.max_rows:
                kept.setdefault(row, unix_seconds)
        self.seen_unix_seconds = kept


class Cadence:
    """The state between two reports."""

    def __init__(
        self, seconds: float, roster: Roster, totals: Mapping[tuple[Metric, Row], int]
    ) -> None:
        """``totals`` is what an earlier run has reported."""
        self._seconds = seconds
        self._roster = roster
        self._elapsed_seconds = 0.0
        self._complete = True
        self._flowed: dict[tuple[Metric, Row], Counter[str]] = {}
        """By every client since the last report."""
        self._totals: Counter[tuple[Metric, Row]] = Counter(dict(totals))
        """What was reported; a row's bytes stay where they were when the roster changes."""

    def advance(self, samples: Samples) -> Samples | None:
        """The rows since the last report, when it is time for another one, or for the last one.

        A report ends only where the length of the interval is known; so it always has rates, of
        every row on the roster and of ``other`` for every service and transport.
        """
        self._complete &= samples.complete
        for key, clients in samples.client_bytes.items():
            self._flowed.setdefault(key, Counter()).update(clients)
        if sum(map(len, self._flowed.values())) > MAX_FLOWED:
            self._flowed = self._fold()
        if samples.seconds is None:
            return None
        self._elapsed_seconds += samples.seconds
        least = self._seconds - samples.seconds / 2 if samples.timed else LEAST_LAST_SECONDS
        if not (samples.timed or samples.is_last) or self._elapsed_seconds < least:
            return None
        report = self._report(samples)
        self._elapsed_seconds, self._complete = 0.0, True
        self._flowed.clear()
        return report

    def _report(self, samples: Samples) -> Samples:
        by_row: Counter[Row] = Counter()
        for (_, flow), clients in self._flowed.items():
            by_row.update({(*flow, c): count for c, count in clients.items() if c != OTHER})
        active = [row for row, _ in by_row.most_common()]
        self._roster.update(active, samples.unix_seconds)
        shown = {
            (metric, (*flow, client)): count
            for (metric, flow), clients in self._fold().items()
            for client, count in clients.items()
        }
        for key, count in shown.items():  # the one longest idle first
            self._totals[key] = self._totals.pop(key, 0) + count
        self._forget()
        return Samples(
            samples.unix_seconds,
            self._complete,
            tuple(self._make_samples(samples, shown)),
            self._elapsed_seconds,
            timed=True,
        )

    def _fold(self) -> dict[tuple[Metric, Row], Counter[str]]:
        """What has flowed, by the clients on the roster and ``other``."""
        folded: dict[tuple[Metric, Row], Counter[str]] = {}
        for key, clients in self._flowed.items():
            folded[key] = shown = Counter[str]()
            for client, count in clients.items():
                is_shown = (*key[1], client) in self._roster.seen_unix_seconds
                shown[client if is_shown else OTHER] += count
        return folded

    def _forget(self) -> None:
        """Of rows that have left the roster, the first that did so, when there are too many."""
        shown = self._roster.seen_unix_seconds
        if len(self._totals) > MAX_REMEMBERED + len(_RATES) * self._roster.max_rows:
            hidden = (key for key in self._totals if key[1] not in shown and key[1][-1] != OTHER)
            excess = len(self._totals) - MAX_REMEMBERED - len(_RATES) * len(shown)
            for key in list(islice(hidden, excess)):
                del self._totals[key]

    def _make_samples(
        self, samples: Samples, shown: Mapping[tuple[Metric, Row], int]
    ) -> Iterator[Sample]:
        """Of what is measured: the rows in the order of their names, ``other`` at the end."""
        measured = {
            (_OF_TOTALS[sample.metric], sample.labels)
            for sample in samples.samples
            if sample.metric in _OF_TOTALS
        }
        others = {(*flow, OTHER) for _, flow in measured}
        for row in [*sorted(self._roster.seen_unix_seconds), *sorted(others)]:
            for metric, rate in _RATES.items():
                if (metric, row[:-1]) in measured:
                    key = metric, row
                    yield Sample(metric, row, self._totals[key])
                    yield Sample(rate, row, shown.get(key, 0) / self._elapsed_seconds)

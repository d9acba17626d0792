"""Compares what was counted with the truth, over a piece of work between two moments of quiet."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.vm.guest.counting import read_counts
from tests.vm.guest.other_tools import (
    ANY_SERVICE,
    FRESH_SECONDS,
    other_tools_run,
    read_other_counts,
)
from tests.vm.guest.truth import Bytes, Flow, read_sockets, subtract, wait_until_quiet

ATTEMPTS = 10


@dataclass(frozen=True)
class _Moment:
    """Kernel and counters at one time, nothing flowing."""

    sockets: Bytes
    counts: dict[str, Counter[Flow]]


class Measurement:
    """Collects pieces of work; connections may close between two pieces, not within one."""

    def __init__(self, workload: str) -> None:
        self._workload = workload
        self._truth: Counter[Flow] = Counter()
        self._counted: dict[str, Counter[Flow]] = {}

    @contextmanager
    def piece(self) -> Iterator[None]:
        """Whatever flows inside belongs to the measurement."""
        before = _wait_for_moment()
        yield
        after = _wait_for_moment()
        self._truth.update(subtract(after.sockets, before.sockets))
        for name, counts in after.counts.items():
            flows = counts.copy()
            flows.subtract(before.counts[name])
            self._counted.setdefault(name, Counter()).update(flows)

    def add_closed(self, service: str, client: str, received: int, transmitted: int) -> None:
        """Bytes of connections that have come and gone within a piece, from their other end."""
        self._truth[Flow(service, client, "receive")] += received
        self._truth[Flow(service, client, "transmit")] += transmitted

    def _count(self, flow: Flow) -> dict[str, int]:
        unnamed = flow._replace(service=ANY_SERVICE)
        return {name: counts[flow] + counts[unnamed] for name, counts in self._counted.items()}

    def report(self) -> None:
        """Print the result, one line for the host to read."""
        flows = sorted(set(self._truth).union(*self._counted.values()))
        rows = [
            {**flow._asdict(), "kernel_bytes": self._truth[flow], "counted_bytes": counted}
            for flow in flows
            if flow.service != ANY_SERVICE
            and (any((counted := self._count(flow)).values()) or self._truth[flow])
        ]
        print("result " + json.dumps({"workload": self._workload, "rows": rows}), flush=True)


@contextmanager
def measured(workload: str) -> Iterator[Measurement]:
    """A measurement of one piece, reported at its end."""
    measurement = Measurement(workload)
    with measurement.piece():
        yield measurement
    measurement.report()


def _wait_for_moment() -> _Moment:
    """Read both, until nothing has flowed between the two readings of the kernel."""
    for _ in range(ATTEMPTS):
        sockets = wait_until_quiet()
        counts = read_counts(time.time())
        if other_tools_run():
            time.sleep(FRESH_SECONDS)
            counts |= read_other_counts()
        if read_sockets() == sockets:
            return _Moment(sockets, counts)
    raise RuntimeError("the connections do not come to rest")

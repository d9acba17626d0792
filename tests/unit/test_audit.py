"""The audit: right counts never drift, whatever flows around the readings; wrong ones do."""

import dataclasses
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfszbx.audit import Audit, Drift, SocketReading, Truth, spread
from nfszbx.dump import Dump
from nfszbx.plan import PortGroup
from nfszbx.traffic import Direction, Service, Slot

SMB = PortGroup((Service.SMBD, Service.KSMBD), (139, 445))
NFS = PortGroup((Service.NFSD,), (2049,))
RECEIVED = Slot(Service.SMBD, Direction.RECEIVE)
FROM_KSMBD = Slot(Service.KSMBD, Direction.RECEIVE)


@dataclass
class Kernel:
    """Connections of smbd, with what each has received; and a counter beside them."""

    missing_percent: int = 0
    live: dict[int, int] = field(default_factory=lambda: {1: 0, 2: 0})
    closed: int = 0
    counted: int = 0
    time_ns: int = 0
    listens: bool = True
    """Otherwise the namespace is not known to have a server."""

    def flow(self, connection: int, count: int) -> None:
        self.live[connection] = self.live.get(connection, 0) + count
        self.counted += count * (100 - self.missing_percent) // 100

    def close(self, connection: int) -> None:
        self.closed += self.live.pop(connection, 0)

    def read_sockets(self) -> SocketReading:
        self.time_ns += 1
        seen = self.live.values() if self.listens else []
        counts = {(445, Direction.RECEIVE): sum(seen)}
        return SocketReading(counts, self.time_ns, frozenset({1} if self.listens else ()))

    def mark(self) -> int:
        self.time_ns += 1
        return self.time_ns

    def dump(self, begin_ns: int = 1, end_ns: int | None = None) -> Dump:
        total = {RECEIVED: self.counted}
        end_ns = end_ns or self.mark()
        return Dump(begin_ns, end_ns, total, {}, closed_bytes={(RECEIVED, "a"): self.closed})


def make_audit() -> Audit:
    return Audit([SMB], Direction)


def find(drifts: list[Drift], direction: Direction = Direction.RECEIVE) -> Drift:
    return next(drift for drift in drifts if drift.direction is direction)


flows = st.lists(
    st.one_of(
        st.tuples(st.just("flow"), st.integers(1, 6), st.integers(0, 10**9)),
        st.tuples(st.just("close"), st.integers(1, 6), st.just(0)),
        st.tuples(st.sampled_from(["sockets", "mark", "dump", "deliver"]), st.just(0), st.just(0)),
    ),
    max_size=80,
)


@given(flows)
def test_exact_counts_never_drift(events: list[tuple[str, int, int]]) -> None:
    """Traffic and closings may come between any two readings, and dumps late, several at once."""
    kernel, audit = Kernel(), make_audit()
    marks: list[int] = []
    dumps: list[Dump] = []
    for what, connection, count in events:
        if what == "flow":
            kernel.flow(connection, count)
        elif what == "close":
            kernel.close(connection)
        elif what == "sockets":
            audit.take_sockets(kernel.read_sockets())
        elif what == "mark":
            marks.append(kernel.mark())
        elif what == "dump" and marks:
            dumps.append(kernel.dump(end_ns=marks.pop(0)))
        elif what == "deliver" and dumps:
            for drift in audit.take_dump(dumps.pop(0), kernel.read_sockets):
                assert drift.bytes == 0
                assert drift.ratio == 0


def test_dumps_that_were_read_late_do_not_drift() -> None:
    """nfszbx was starved while a connection closed: the next dump had been printed before that."""
    kernel, audit = Kernel(), make_audit()
    audit.take_dump(kernel.dump(), kernel.read_sockets)
    kernel.flow(1, 1000)
    audit.take_sockets(kernel.read_sockets())
    kernel.flow(2, 5000)
    late = [kernel.dump(), kernel.dump()]
    kernel.close(1)
    drifts = [drift for dump in late for drift in audit.take_dump(dump, kernel.read_sockets)]
    for _ in range(3):
        drifts += audit.take_dump(kernel.dump(), kernel.read_sockets)
        audit.take_sockets(kernel.read_sockets())
        drifts += audit.take_dump(kernel.dump(), kernel.read_sockets)
    assert {drift.bytes for drift in drifts} == {0}


def test_connections_that_outlive_their_listener_do_not_drift() -> None:
    """A server is stopped and started again while an audit is made."""
    kernel, audit = Kernel(), make_audit()
    drifts: list[Drift] = []
    for kernel.listens in (True, False, True, True, True):
        kernel.flow(1, 1000)
        drifts += audit.take_dump(kernel.dump(), kernel.read_sockets)
        audit.take_sockets(kernel.read_sockets())
        drifts += audit.take_dump(kernel.dump(), kernel.read_sockets)
    assert drifts
    assert {drift.bytes for drift in drifts} == {0}


@given(st.integers(1, 100), st.integers(100, 10**12))
def test_what_was_missed_is_told(missing_percent: int, count: int) -> None:
    kernel, audit = Kernel(missing_percent), make_audit()
    drifts: list[Drift] = []
    for number in range(3):
        audit.take_dump(kernel.dump(), kernel.read_sockets)
        audit.take_sockets(kernel.read_sockets())
        audit.take_dump(kernel.dump(), kernel.read_sockets)
        drifts = audit.take_dump(kernel.dump(), kernel.read_sockets)
        kernel.flow(number, count)
    drift = find(drifts)
    assert drift.truth == Truth(count, count)
    assert drift.ratio == pytest.approx(-missing_percent / 100, abs=0.02)
    assert find(drifts, Direction.TRANSMIT).ratio == 0


def test_what_was_invented_is_told() -> None:
    drift = Drift(NFS, Direction.RECEIVE, 300, Truth(100, 200))
    assert (drift.bytes, drift.ratio) == (100, 0.5)
    assert Drift(NFS, Direction.RECEIVE, 7, Truth(0, 0)).ratio == 7


def test_a_new_child_begins_a_new_audit() -> None:
    kernel, audit = Kernel(), make_audit()
    for begin_ns in (1, 1, 1, 2, 2, 2, 3, 3, 3):
        audit.take_sockets(kernel.read_sockets())
        kernel.flow(1, 1000)
        assert audit.take_dump(kernel.dump(begin_ns), kernel.read_sockets) == []


def test_reading_that_ended_after_the_mark_of_the_dump_is_not_used() -> None:
    kernel, audit = Kernel(), make_audit()
    for _ in range(9):
        mark = kernel.mark()
        audit.take_sockets(kernel.read_sockets())
        kernel.flow(1, 1000)
        assert audit.take_dump(kernel.dump(end_ns=mark), kernel.read_sockets) == []


def test_connections_that_vanish_leave_the_truth_unknown() -> None:
    """A namespace has ended, and the kernel has not closed its connections yet."""
    kernel, audit = Kernel(), make_audit()
    kernel.flow(2, 10**12)
    for number in range(6):
        audit.take_sockets(kernel.read_sockets())
        if number == 2:
            del kernel.live[2]
        kernel.flow(1, 1000)
        for drift in audit.take_dump(kernel.dump(), kernel.read_sockets):
            assert drift.bytes == 0


def test_closed_connections_that_cannot_be_read_stop_the_audit_only() -> None:
    kernel, audit = Kernel(), make_audit()
    for _ in range(6):
        audit.take_sockets(kernel.read_sockets())
        dump = dataclasses.replace(kernel.dump(), closed_bytes=None)
        assert audit.take_dump(dump, kernel.read_sockets) == []


def test_sockets_are_summed_only_for_a_dump_that_is_audited() -> None:
    kernel, audit = Kernel(), make_audit()

    def refuse() -> SocketReading:
        raise AssertionError("summed for nothing")

    for _ in range(5):
        audit.take_dump(kernel.dump(), refuse)


def test_services_that_share_ports_share_their_drift() -> None:
    drifts = [Drift(SMB, Direction.RECEIVE, 90, Truth(100, 100))]
    by_first = {(Service.SMBD, Direction.RECEIVE): -0.1}
    by_second = {(Service.KSMBD, Direction.RECEIVE): -0.1}
    assert spread(drifts, {}) == by_first
    assert spread(drifts, {FROM_KSMBD: 5}) == by_second
    assert spread(drifts, Counter({FROM_KSMBD: 5, RECEIVED: 1})) == {**by_first, **by_second}

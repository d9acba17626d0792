"""Two children count the same for a while: no byte counts twice, and at rest none is missing."""

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from nfszbx.dump import Dump
from nfszbx.handover import Handover, Start
from nfszbx.traffic import Direction, Service, Slot

RECEIVED = Slot(Service.NFSD, Direction.RECEIVE)
CLIENTS = ["a", "b", "c"]
LOST = "beside the map"
"""What the map of clients had no room for: it is in the totals alone."""


@dataclass
class Child:
    begin_ns: int
    probed: set[str] = field(default_factory=set)
    """Clients whose traffic it sees: probes are attached one after the other."""
    counted: Counter[str] = field(default_factory=Counter)
    closed: Counter[str] = field(default_factory=Counter)

    def dump(self, end_ns: int) -> Dump:
        return Dump(
            self.begin_ns,
            end_ns,
            {RECEIVED: self.counted.total()},
            {(RECEIVED, client): count for client, count in self.counted.items() if client != LOST},
            closed_bytes={(RECEIVED, client): count for client, count in self.closed.items()},
        )


@dataclass
class Machine:
    old: Child = field(default_factory=lambda: Child(1, {*CLIENTS, LOST}))
    new: Child | None = None
    time_ns: int = 10
    handover: Handover = field(default_factory=Handover)
    reported: Counter[str] = field(default_factory=Counter)
    truth: Counter[str] = field(default_factory=Counter)
    closed_truth: Counter[str] = field(default_factory=Counter)

    def tick(self) -> int:
        self.time_ns += 1
        return self.time_ns

    def children(self) -> list[Child]:
        return [self.old, *([self.new] if self.new else [])]

    def flow(self, client: str, count: int) -> None:
        self.truth[client] += count
        for child in self.children():
            child.counted[client] += count * (client in child.probed)

    def close(self, client: str, count: int) -> None:
        self.closed_truth[client] += count
        for child in self.children():
            child.closed[client] += count * (client in child.probed)

    def happen(self, event: tuple[str, str, int]) -> None:
        match event:
            case ("flow", client, count):
                self.flow(client, count)
            case ("close", client, count):
                self.close(client, count)
            case ("attach", client, _) if self.new:
                self.new.probed.add(client)
            case ("old", _, _):
                self.handover.take_old(self.old.dump(self.tick()), self.tick())
            case ("new", _, _) if self.new:
                self.handover.take_new(self.new.dump(self.tick()))
            case ("start", _, _) if not self.new:
                self.new = Child(self.tick())


clients = st.sampled_from([*CLIENTS, LOST])
traffic = st.tuples(st.sampled_from(["flow", "flow", "close"]), clients, st.integers(1, 10**6))
events = st.one_of(
    traffic, st.tuples(st.sampled_from(["attach", "old", "new", "start"]), clients, st.just(0))
)


@settings(max_examples=300, deadline=None)
@given(st.lists(events, max_size=40), st.lists(traffic, max_size=3), st.lists(traffic, max_size=9))
def test_no_byte_is_counted_twice(
    before: list[tuple[str, str, int]],
    between: list[tuple[str, str, int]],
    after: list[tuple[str, str, int]],
) -> None:
    machine = Machine()
    for event in before:
        machine.happen(event)
    machine.happen(("start", "", 0))
    assert machine.new
    machine.new.probed = {*CLIENTS, LOST}
    last = machine.old.dump(machine.tick())
    machine.handover.take_old(last, machine.tick())
    truth, closed_truth = machine.truth.copy(), machine.closed_truth.copy()
    early = machine.new.dump(last.end_ns)
    for event in between:
        machine.happen(event)
    assert machine.handover.finish(early) is None
    first = machine.new.dump(machine.tick())
    start = machine.handover.finish(first)
    assert start is not None
    for event in after:
        machine.happen(event)
    dump = start.apply(machine.new.dump(machine.tick()))
    assert dump.begin_ns == last.end_ns
    machine.truth.subtract(truth)
    machine.closed_truth.subtract(closed_truth)
    quiet = {*CLIENTS, LOST} - {client for _, client, _ in between}
    for client in CLIENTS:
        for counts, flowed in (
            (dump.client_bytes, machine.truth),
            (dump.closed_bytes or {}, machine.closed_truth),
        ):
            news = counts.get((RECEIVED, client), 0)
            assert 0 <= news <= flowed[client]
            assert news == flowed[client] or client not in quiet
    unnamed = dump.total_bytes[RECEIVED] - sum(dump.client_bytes.values())
    assert 0 <= unnamed <= machine.truth[LOST]
    assert unnamed == machine.truth[LOST] or LOST not in quiet


def test_client_at_rest_once_is_exact_though_it_never_rests_again() -> None:
    handover = Handover()
    counts = {"old": 0, "new": 0}

    def dump(name: str, end_ns: int) -> Dump:
        return Dump(1, end_ns, {RECEIVED: counts[name]}, {(RECEIVED, "a"): counts[name]})

    def flow(count: int) -> None:
        for name in counts:
            counts[name] += count

    counts["old"] = 700
    for end_ns in (10, 20, 30):
        handover.take_old(dump("old", end_ns), end_ns + 1)
        if end_ns > 10:
            flow(100)
        handover.take_new(dump("new", end_ns + 2))
        flow(50)
    handover.take_old(dump("old", 40), 41)
    reported = counts["old"]
    flow(100)
    start = handover.finish(dump("new", 42))
    assert isinstance(start, Start)
    flow(1000)
    news = start.apply(dump("new", 50)).client_bytes[RECEIVED, "a"]
    assert news == counts["old"] - reported


def test_client_for_whom_the_old_map_had_no_room_is_not_counted_twice() -> None:
    """It was counted without a name until the old child ended."""
    handover = Handover()
    key = (RECEIVED, "a")
    for end_ns, new in ((10, 0), (20, 300), (30, 5000)):
        handover.take_old(Dump(1, end_ns, {RECEIVED: new}, {}), end_ns + 1, fits=False)
        handover.take_new(Dump(2, end_ns + 2, {RECEIVED: new}, {key: new}))
    start = handover.finish(Dump(2, 40, {RECEIVED: 5000}, {key: 5000}))
    assert start is not None
    dump = start.apply(Dump(2, 50, {RECEIVED: 5100}, {key: 5100}))
    assert (dump.client_bytes, dump.total_bytes) == ({key: 100}, {RECEIVED: 100})

"""What is recovered has flowed, whatever dies when; and in the end nothing is missing.

But for what connections have moved that ended while nobody looked.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nfszbx.accounts import Accounts
from nfszbx.connections import Connection, Sight
from nfszbx.dump import Dump
from nfszbx.ledger import Ledger
from nfszbx.plan import PortGroup
from nfszbx.traffic import Direction, Service, Slot, name_client

GROUPS = (PortGroup((Service.SMBD, Service.KSMBD), (445,)), PortGroup((Service.NFSD,), (2049,)))
KSMBD = {direction: Slot(Service.KSMBD, direction) for direction in Direction}
CLIENTS = 3
LOOKS = 3
"""What closes at least so many dumps with readings before a gap, or after, is nothing special."""
Key = tuple[Slot, str]


def address(client: int) -> bytes:
    return bytes(10) + b"\xff\xff\x0a\x00\x00" + bytes([client])


@dataclass
class Socket:
    client: int
    read: int = 0
    unread: int = 0
    written: int = 0
    unacknowledged: int = 0

    @property
    def moved(self) -> dict[Direction, int]:
        return {Direction.RECEIVE: self.read, Direction.TRANSMIT: self.written}

    def look(self) -> Connection:
        queues = (self.unread, self.unacknowledged)
        counters = (self.written - self.unacknowledged, self.read + self.unread)
        return Connection(445, address(self.client), *(False, False), *queues, *counters)


@dataclass
class Machine:
    """ksmbd, its connections, a bpftrace that comes and goes, and nfszbx with a ledger."""

    ledger: Ledger = field(default_factory=lambda: Ledger(Accounts(GROUPS)))
    sockets: dict[int, Socket] = field(default_factory=dict)
    truth: Counter[tuple[Direction, str]] = field(default_factory=Counter)
    """What flowed since nfszbx began."""
    reported: Counter[tuple[Direction, str]] = field(default_factory=Counter)
    """Whichever service it is given to."""
    counted: Counter[Key] | None = None
    """By the child, while there is one."""
    closed: Counter[Key] = field(default_factory=Counter)
    swallowed: set[int] = field(default_factory=set)
    """Clients of which a connection ended unseen: not all of it can come back."""
    namespaces: frozenset[int] = frozenset({0, 1})
    """Where connections are looked for; every second client's are in the other one."""
    left_out: set[int] = field(default_factory=set)
    """Connections that the kernel forgets in the next reading."""
    begin_ns: int = 0
    time_ns: int = 0
    _next: int = 0
    _base: Counter[Key] = field(default_factory=Counter)

    def open(self, client: int, read: int = 0) -> Socket:
        self._next += 1
        self.sockets[self._next] = Socket(client, read=read, written=read)
        return self.sockets[self._next]

    def flow(self, number: int, direction: Direction, count: int, queued: int = 0) -> None:
        if not self.sockets:
            return
        each = self.sockets[sorted(self.sockets)[number % len(self.sockets)]]
        if direction is Direction.RECEIVE:
            each.read += count
            each.unread = max(queued, each.unread - count)
        else:
            each.written += count
            each.unacknowledged = min(queued, each.unacknowledged + count)
        client = name_client(address(each.client))
        if self.counted is not None:
            self.counted[KSMBD[direction], client] += count
        self.truth[direction, client] += count

    def close(self, number: int) -> None:
        if not self.sockets:
            return
        identity = sorted(self.sockets)[number % len(self.sockets)]
        each = self.sockets.pop(identity)
        self._closings[each.client] = self._looks
        if self.counted is None or self._looks - self._looks_at_start < LOOKS:
            self.swallowed.add(each.client)
        for direction, count in each.moved.items():
            client = name_client(address(each.client))
            self.closed[Slot(Service.SMBD, direction), client] += count

    def start(self) -> None:
        if self.counted is None:
            self.counted, self.closed = Counter(), Counter()
            self._looks_at_start = self._looks
            self.begin_ns = self.tick()

    def kill(self) -> None:
        """What closed shortly before that may not have been understood."""
        if self.counted is not None:
            self.swallowed |= {c for c, at in self._closings.items() if self._looks - at < LOOKS}
        self.counted = None

    _looks: int = 0
    """Dumps with readings before them."""
    _looks_at_start: int = 0
    _closings: dict[int, int] = field(default_factory=dict)

    def doubt(self) -> None:
        """From now on, not all of it need come back; nothing may be invented all the same."""
        self.swallowed = set(range(CLIENTS))

    def tick(self) -> int:
        self.time_ns += 1
        return self.time_ns

    def read(self) -> Sight:
        connections = {
            (each.client % 2, identity): each.look()
            for identity, each in self.sockets.items()
            if each.client % 2 in self.namespaces and identity not in self.left_out
        }
        self.left_out = set()
        return Sight(connections, self.tick(), self.namespaces)

    def cycle(
        self,
        *,
        looks_before: bool = True,
        before_dump: Callable[[], None] = lambda: None,
        after_dump: Callable[[], None] = lambda: None,
    ) -> None:
        """A dump and the readings around it, with something that happens in between."""
        if self.counted is None:
            return
        before = (self.read(), self.read()) if looks_before else None
        before_dump()
        dump = Dump(
            self.begin_ns,
            self.tick(),
            _sum_clients(self.counted),
            dict(self.counted),
            closed_bytes=dict(self.closed),
        )
        self._looks += looks_before
        after_dump()
        ledger = self.ledger.copy()
        adjusted = ledger.take_dump(dump, before)
        self.ledger = ledger
        self._report(adjusted)
        self.ledger.take_after(self.read())

    def _report(self, dump: Dump) -> None:
        """As the counters do: what a child counts begins at zero."""
        if self._reported_of != dump.begin_ns:
            self._reported_of, self._base = dump.begin_ns, Counter()
        assert dump.total_bytes == _sum_clients(dump.client_bytes)
        for key, count in dump.client_bytes.items():
            assert count >= self._base[key]
            self.reported[key[0].direction, key[1]] += count - self._base[key]
        self._base = Counter(dict(dump.client_bytes))
        assert all(count <= self.truth[key] for key, count in self.reported.items())

    _reported_of: int = 0


def _sum_clients(counts: Mapping[Key, int]) -> Counter[Slot]:
    sums: Counter[Slot] = Counter()
    for (slot, _), count in counts.items():
        sums[slot] += count
    return +sums


def settle(machine: Machine) -> None:
    for _ in range(4):
        machine.start()
        machine.cycle()


def begin(machine: Machine, *, already: int = 0) -> Machine:
    for client in range(CLIENTS if already else 0):
        machine.open(client, already)
    settle(machine)
    return machine


counts = st.integers(1, 10**6)
queues = st.sampled_from([0, 0, 1000])
directions = st.sampled_from(list(Direction))
flow = st.tuples(st.just("flow"), st.integers(0, 5), directions, counts, queues)
close = st.tuples(st.just("close"), st.integers(0, 5))
opening = st.tuples(st.just("open"), st.integers(0, CLIENTS - 1))
traffic = st.one_of(flow, flow, flow, close, opening)
events = st.lists(
    st.one_of(
        traffic,
        st.tuples(st.sampled_from(["kill", "start", "start"])),
        st.tuples(st.just("cycle"), st.booleans(), st.none() | traffic, st.none() | traffic),
        st.tuples(st.just("cycle"), st.booleans(), st.none() | traffic, st.none() | traffic),
    ),
    max_size=60,
)

doubts = st.one_of(
    st.tuples(st.just("leave out"), st.integers(0, 5)),
    st.sampled_from([("look elsewhere", 0, 1), ("look elsewhere", 0), ("look elsewhere",)]),
)


def happen(machine: Machine, event: tuple) -> None:  # type: ignore[type-arg]
    match event:
        case ("leave out", number) if machine.sockets:
            machine.left_out = {sorted(machine.sockets)[number % len(machine.sockets)]}
            machine.doubt()
        case ("look elsewhere", *namespaces):
            machine.namespaces = frozenset(namespaces)
            machine.doubt()
        case ("flow", number, direction, count, queued):
            machine.flow(number, direction, count, queued)
        case ("close", number):
            machine.close(number)
        case ("open", client):
            machine.open(client)
        case ("kill",):
            machine.kill()
        case ("start",):
            machine.start()
        case ("cycle", looks_before, first, second):
            machine.cycle(
                looks_before=looks_before,
                before_dump=lambda: happen(machine, first) if first else None,
                after_dump=lambda: happen(machine, second) if second else None,
            )


@settings(max_examples=500, deadline=None)
@given(events, st.integers(0, 10**9))
def test_what_sockets_can_tell_comes_back(events: list[tuple], already: int) -> None:  # type: ignore[type-arg]
    machine = begin(Machine(), already=already)
    for event in events:
        happen(machine, event)
    for each in machine.sockets.values():
        each.unread = each.unacknowledged = 0
    settle(machine)
    for key, count in machine.truth.items():
        if key[1] not in {name_client(address(client)) for client in machine.swallowed}:
            assert machine.reported[key] == count


@settings(max_examples=500, deadline=None)
@given(st.lists(st.one_of(events, st.lists(doubts, max_size=1)), max_size=8), st.integers(0, 10**9))
def test_nothing_is_invented_when_connections_are_out_of_sight(
    parts: list[list[tuple]],  # type: ignore[type-arg]
    already: int,
) -> None:
    """The kernel leaves one out of a reading, or a namespace was not found for a while."""
    machine = begin(Machine(), already=already)
    for event in (event for part in parts for event in part):
        happen(machine, event)
    settle(machine)


def move(machine: Machine, count: int) -> None:
    for direction in Direction:
        machine.flow(0, direction, count)


def find(machine: Machine) -> set[int]:
    return set(machine.reported.values()) - {0}


def test_service_of_what_is_recovered() -> None:
    """Of two that share the port, the one that the client used before the gap."""
    machine = begin(Machine(), already=100)
    move(machine, 1000)
    settle(machine)
    machine.kill()
    move(machine, 500)
    settle(machine)
    assert set(machine.ledger.recovered_bytes) == set(KSMBD.values())
    assert find(machine) == {1500}


def test_connection_that_ended_in_the_gap() -> None:
    """What it moved there is missing; the client's other connection is not mistaken for it."""
    machine = begin(Machine())
    machine.open(0)
    machine.open(0)
    for number in range(2):
        machine.flow(number, Direction.RECEIVE, 1000)
    settle(machine)
    machine.kill()
    for number in range(2):
        machine.flow(number, Direction.RECEIVE, 500)
    machine.close(1)
    settle(machine)
    assert find(machine) == {2500}


def test_bytes_that_nobody_read_are_not_recovered_later() -> None:
    """A client resets a connection: what was not read then is a part of what the kernel tells."""
    machine = begin(Machine())
    machine.open(0)
    machine.open(0)
    machine.sockets[1].read = 700  # as the kernel says when it closes
    machine.close(0)
    settle(machine)
    machine.kill()
    machine.flow(0, Direction.RECEIVE, 300)
    settle(machine)
    assert find(machine) == {300}


@pytest.mark.parametrize("spoiled", ["closed", "full"])
def test_dump_that_does_not_tell_everything_begins_anew(spoiled: str) -> None:
    """And what was recovered before stays."""
    machine = begin(Machine(), already=100)
    machine.kill()
    move(machine, 500)
    settle(machine)
    child = Dump(machine.begin_ns, machine.tick(), {}, {}, closed_bytes={})
    if spoiled == "closed":
        child = replace(child, closed_bytes=None)
    adjusted = machine.ledger.take_dump(child, fits=spoiled != "full")
    assert set(adjusted.total_bytes.values()) == {500}
    was_settled = machine.ledger.is_settled
    settle(machine)
    assert (was_settled, machine.ledger.is_settled) == (False, True)
    assert find(machine) == {500}

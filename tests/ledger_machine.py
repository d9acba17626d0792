"""A modelled machine for the ledger: connections, a bpftrace that comes and goes, and the truth."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

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

    def kill(self, before_reading: Callable[[], None] = lambda: None) -> None:
        """What closed shortly before that may not have been understood.

        Where there was no reading after the last dump, one is made now.
        """
        if self.counted is not None:
            self.swallowed |= {c for c, at in self._closings.items() if self._looks - at < LOOKS}
        self.counted = None
        before_reading()
        if self.ledger.lacks_after:
            self.ledger.take_after(self.read())

    _read: set[int] = field(default_factory=set)
    """Connections that were in a reading."""
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

    def dump(self) -> Dump:
        counted = self.counted or Counter()
        return Dump(
            self.begin_ns,
            self.tick(),
            _sum_clients(counted),
            dict(counted),
            closed_bytes=dict(self.closed),
        )

    def read(self) -> Sight:
        # One that no reading has seen yet cannot be missed: whoever leaves that out is believed.
        left_out = self.left_out & self._read
        self._read |= self.sockets.keys()
        connections = {
            (each.client % 2, identity): each.look()
            for identity, each in self.sockets.items()
            if each.client % 2 in self.namespaces and identity not in left_out
        }
        self.left_out = set()
        return Sight(connections, self.tick(), self.namespaces)

    def cycle(
        self,
        *,
        looks_before: bool = True,
        looks_after: bool = True,
        before_dump: Callable[[], None] = lambda: None,
        after_dump: Callable[[], None] = lambda: None,
        hidden: frozenset[int] = frozenset(),
    ) -> None:
        """A dump and the readings around it, with something that happens in between.

        The reading after it leaves out the ``hidden`` connections.
        """
        if self.counted is None:
            return
        before = (self.read(), self.read()) if looks_before else None
        before_dump()
        dump = self.dump()
        self._looks += looks_before
        after_dump()
        ledger = self.ledger.copy()
        adjusted = ledger.take_dump(dump, before)
        self.ledger = ledger
        self._report(adjusted)
        self.left_out |= hidden
        if looks_after:
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

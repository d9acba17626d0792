"""Adds up, by client, what sockets and dumps say: the two sides that the ledger compares."""

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from nfszbx.connections import Connection, Connections, Identity, Moved, bound_low
from nfszbx.dump import Dump
from nfszbx.plan import PortGroup
from nfszbx.traffic import Direction, Slot, name_client

_MAX_REMEMBERED = 65_536


class Account(NamedTuple):
    """A client's bytes in one direction, of services that no socket tells apart."""

    group: int
    client: str
    direction: Direction


Sums = Counter[Account]
"""Bytes."""


class Accounts:
    """Knows which account a connection and a slot belong to."""

    def __init__(self, groups: Iterable[PortGroup]) -> None:
        self.groups = tuple(groups)
        self._by_port = {port: n for n, group in enumerate(self.groups) for port in group.ports}
        self._by_slot = {
            Slot(service, direction): (n, direction)
            for n, group in enumerate(self.groups)
            for service in group.services
            for direction in Direction
        }
        # The same connections come again with every reading.
        self._remember_pair = lru_cache(_MAX_REMEMBERED)(self._make_pair)

    def list_of(self, connection: Connection) -> tuple[Account, Account]:
        """In the order of ``Direction``."""
        return self._remember_pair(connection.port, connection.address)

    def _make_pair(self, port: int, address: bytes) -> tuple[Account, Account]:
        group, client = self._by_port[port], name_client(address)
        received, transmitted = (Account(group, client, direction) for direction in Direction)
        return received, transmitted

    def list_all(self, connections: Connections) -> set[Account]:
        """Those that have connections."""
        return {account for each in connections.values() for account in self.list_of(each)}

    def sum_slots(self, counts: Mapping[tuple[Slot, str], int]) -> Sums:
        """What a dump says, without what does not go over TCP."""
        sums: Sums = Counter()
        for (slot, client), count in counts.items():
            if place := self._by_slot.get(slot):
                group, direction = place
                account = Account(group, client, direction)
                sums[account] = sums.get(account, 0) + count
        return sums

    def sum_high(self, connections: Connections) -> Sums:
        """What applications had at most moved when the reading began."""
        sums: Sums = Counter()
        for connection in connections.values():
            self._add(sums, connection, connection.bound_high())
        return sums

    def sum_low(self, earlier: Connections, later: Connections) -> Sums:
        """What applications had at least moved when the later of two readings ended."""
        sums: Sums = Counter()
        for identity, each in later.items():
            if identity in earlier:
                self._add(sums, each, bound_low(earlier[identity], each))
        return sums

    def sum_each_low(self, earlier: Connections, later: Connections) -> dict[Identity, Sums]:
        """The same for each connection that is in both."""
        return {
            identity: self._add(Counter(), each, bound_low(earlier[identity], each))
            for identity, each in later.items()
            if identity in earlier
        }

    def find_slot(self, account: Account, dump: Dump, before: Mapping[Account, Slot]) -> Slot:
        """The service whose traffic it most likely is: where the client has had most of its own.

        In this dump, or ``before``; otherwise where anybody had most, or the first of them.
        """
        slots = [Slot(s, account.direction) for s in self.groups[account.group].services]
        best = max(slots, key=lambda slot: dump.client_bytes.get((slot, account.client), 0))
        if (best, account.client) in dump.client_bytes:
            return best
        busiest = max(slots, key=lambda slot: dump.total_bytes.get(slot, 0))
        return before.get(account, busiest)

    def _add(self, sums: Sums, connection: Connection, moved: Moved) -> Sums:
        receive, transmit = self.list_of(connection)
        sums[receive] += moved.receive
        sums[transmit] += moved.transmit
        return sums

    def find_sending(self, connections: Connections) -> set[Account]:
        """Accounts for which a call may be sending: not everything is acknowledged.

        Most ways of counting count a call when it ends, and its bytes are in the socket before.
        """
        return {
            account
            for connection in connections.values()
            if connection.unacknowledged_bytes > connection.has_sent_fin
            for account in self.list_of(connection)
            if account.direction is Direction.TRANSMIT
        }

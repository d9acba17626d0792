"""Finds bytes that flowed while no bpftrace counted them, from the kernel's counters per socket.

Of a client's bytes in one direction there are two sums: what its connections have moved, as far as
the kernel tells (those that exist, and those that closed before the child's eyes), and what was
counted. They differ by a constant: what had flowed before counting began. Every reading of the
sockets after a dump bounds it from above; the bound only gets tighter, and is exact once the client
has moved nothing at a dump. When a child has ended, what the sockets say before a dump, less that
bound, has flowed at least; what was counted less is added. So nothing is invented, and errors do
not add up over the ends of many children.

A connection that ended while nobody looked cannot be asked any more: what it moved since the last
dump stays missing.
"""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple, Self

from nfszbx.accounts import Account, Accounts, Sums
from nfszbx.connections import Connection, Connections, Identity, Sight
from nfszbx.dump import Dump
from nfszbx.traffic import Slot

MAX_LOOKS = 30
"""After a gap the sockets are read before so many dumps, then only when there is an audit."""


class _Left(NamedTuple):
    """Of a connection that a gap may have swallowed."""

    counted: Sums
    """What was counted of it at least."""
    position: Sums
    """What it had moved at least; every account that it belongs to."""


class Ledger:
    """The state between dumps. All numbers are bytes."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self.recovered_bytes = Counter[Slot]()
        """Since the start."""
        self._dump: Dump | None = None
        """The last one."""
        self._is_blind = False
        """The last dump did not tell enough."""
        self._recovered: dict[tuple[Slot, str], int] = {}
        """What is added to the counts of this child."""
        self._slots: dict[Account, Slot] = {}
        """Where traffic was counted last, of accounts that had connections at the last gap."""
        self._forget()

    def _forget(self) -> None:
        """Bound anew: what is missing now stays missing."""
        self._high: dict[Account, int | None] = {}
        """Bounds of what flowed before counting began; None where nothing is known."""
        self._is_known = False
        """Have two readings looked for connections? The kernel may leave one out when others close
        meanwhile, since it goes on by places in a list."""
        self._namespaces = frozenset[int]()
        """Where connections were looked for."""
        self._unsettled: set[Account] = set()
        self._looks = 0
        """Dumps with readings before them, since the last gap."""
        self._exact: set[Account] = set()
        """Accounts whose bounds are exact."""
        self._base: Dump | None = None
        """The last dump of this child, as far as it told enough."""
        self._closed: Sums | None = None
        """What connections that have closed had moved then, where it was added up already."""
        self._low: Sums | None = None
        """What had flowed at least at the last dump, as the sockets tell."""
        self._sending: set[Account] = set()
        """Accounts of which the sockets may have told too much then."""
        self._sights: deque[Sight] = deque(maxlen=3)
        self._after: Sight | None = None
        """The one that followed the last dump."""
        self._seen: Connections = {}
        """Connections that are to be found again, or to be among the closed ones."""
        self._closed_when_seen: Sums = Counter()
        self._before_gap: dict[Identity, _Left] | None = None
        """Connections of which it is not known yet whether they outlived the last gap; None when
        that was found out."""

    def change_accounts(self, accounts: Accounts) -> None:
        """Other services, or other ports of theirs: begin anew."""
        self._accounts = accounts
        self._slots = {}
        self._forget()

    def copy(self) -> Self:
        """One to try a dump with that may yet be refused."""
        twin = object.__new__(type(self))
        for name, value in vars(self).items():
            setattr(twin, name, value.copy() if isinstance(value, dict | set | deque) else value)
        return twin

    @property
    def needs_readings(self) -> bool:
        """Are the sockets to be read before the next dump: may something still be missing?

        Not for ever: a client that never rests, or never acknowledges, is left to the audits.
        """
        if self._is_blind:
            return False
        return not self._is_known or (bool(self._unsettled) and self._looks < MAX_LOOKS)

    def take_dump(
        self, dump: Dump, before: tuple[Sight, Sight] | None = None, *, fits: bool = True
    ) -> Dump:
        """The dump, with what was missed and can be known.

        ``before`` are two readings, one after the other, made since the last dump. ``fits`` is
        False when the kernel's maps had no room for everything.
        """
        if self._dump is not None and self._dump.begin_ns != dump.begin_ns:
            self._begin_child(self._dump)
        self._dump = dump
        self._is_blind = dump.closed_bytes is None or not fits
        if dump.closed_bytes is None or self._is_blind:
            self._forget()
            return _add(dump, self._recovered)
        if before is not None and (
            before[0].end_ns <= dump.begin_ns or before[1].end_ns >= dump.end_ns
        ):
            before = None  # made in the life of another child, or after this dump
        if before is None and self._after is None:
            self._base, self._closed, self._low = dump, None, None
            return _add(dump, self._recovered)
        closed = self._accounts.sum_slots(dump.closed_bytes)
        closed_before = self._sum_closed()
        if before is not None:
            self._meet(before[0], closed)
            if not self._is_known:
                self._namespaces = frozenset()
            self._meet(before[1], closed)
            self._is_known = True
            if self._before_gap is not None:
                self._look_after_gap(before, self._before_gap, closed)
        self._bound(dump, closed, closed_before)
        self._base, self._closed, self._low = dump, closed, None
        if before is not None:
            earlier, later = (sight.connections for sight in before)
            self._seen = {**self._seen, **later}
            self._low = self._accounts.sum_low(earlier, later)
            self._low.update(closed_before)
            self._looks += 1
            self._sending = self._accounts.find_sending(later)
            self._recover(dump, self._low)
        return _add(dump, self._recovered)

    def take_after(self, sight: Sight) -> None:
        """A reading made after the dump, as soon as possible; not after every dump.

        Where the last dump of a child had none, one that is made when the child has ended: what is
        found by it is less at most by what the connections that closed meanwhile had moved. Raises
        ValueError for a second reading after the same dump.
        """
        if self._after is not None:
            raise ValueError("there is a reading after this dump")
        self._meet(sight, self._sum_closed())
        self._sights.append(sight)
        self._after = sight

    @property
    def lacks_after(self) -> bool:
        """Is one to be made when the child ends?"""
        return self._base is not None and self._after is None

    def _sum_counted(self) -> Sums:
        """What was counted by this child up to the last dump, with what was recovered."""
        if self._base is None:
            return Counter()
        sums = self._accounts.sum_slots(self._base.client_bytes)
        sums.update(self._accounts.sum_slots(self._recovered))
        return sums

    def _sum_closed(self) -> Sums:
        """What connections that have closed had moved, at the last dump."""
        if self._closed is None:
            counts = self._base.closed_bytes if self._base is not None else None
            self._closed = self._accounts.sum_slots(counts or {})
        return self._closed

    def _meet(self, sight: Sight, closed: Sums) -> None:
        """Find out which accounts begin at zero: those whose first connection has come since.

        Where connections have closed, and where nobody has looked before, that is not known; nor is
        it at the first time.
        """
        if not sight.namespaces <= self._namespaces:
            # What was counted there was compared with connections that are elsewhere.
            for account in self._high:
                self._lose(account)
        for identity, each in sight.connections.items():
            is_new_place = identity[0] not in self._namespaces
            for account in self._accounts.list_of(each):
                if is_new_place:
                    self._lose(account)
                else:
                    self._high.setdefault(account, None if account in closed else 0)
        self._namespaces = sight.namespaces

    def _lose(self, account: Account) -> None:
        """Bound it anew."""
        self._high[account] = None
        self._unsettled.discard(account)
        self._exact.discard(account)

    def _begin_child(self, last: Dump) -> None:
        """Count from zero, beginning at the positions that the child before has counted.

        Accounts without a connection then begin at zero as well, and are not kept.
        """
        counted, closed = self._sum_counted(), self._sum_closed()
        recovered, self._recovered = self._recovered, {}
        after, self._after = self._after, None
        if after is None:
            self._forget()
            return
        self._before_gap = self._list_left(after.connections)
        accounts = {each for left in self._before_gap.values() for each in left.position}
        before, self._exact, self._looks = self._high, set(), 0
        known = {account: before.get(account) for account in accounts}
        self._high = {
            account: None if high is None else high - closed[account] + counted[account]
            for account, high in known.items()
        }
        # What is not closed may have been left out of the last reading, and does not begin at zero.
        for account in (before.keys() | counted.keys()) - accounts:
            high = before.get(account)
            if high is None or high - closed[account] + counted[account] > 0:
                self._high[account] = None
        self._unsettled = {account for account, high in known.items() if high is not None}
        last = _add(last, recovered)
        self._slots = {
            account: self._accounts.find_slot(account, last, self._slots) for account in accounts
        }
        self._base, self._closed, self._low = None, None, None
        self._seen, self._closed_when_seen = after.connections, Counter()

    def _list_left(self, connections: Connections) -> dict[Identity, _Left]:
        """Bounds of connections from readings that lie before each other, if there are any."""
        first, second, third = [{}, {}, {}, *(sight.connections for sight in self._sights)][-3:]
        counted = self._accounts.sum_each_low(first, second)
        position = self._accounts.sum_each_low(second, third)
        return {
            identity: _Left(
                counted.get(identity, Counter()),
                position.get(identity, Counter(dict.fromkeys(self._accounts.list_of(each), 0))),
            )
            for identity, each in connections.items()
        }

    def _look_after_gap(
        self, before: tuple[Sight, Sight], left: dict[Identity, _Left], closed: Sums
    ) -> None:
        """Find out what has outlived the gap, and what has come in it.

        What was counted of the connections that the gap has swallowed is taken out of the bounds,
        unless this child may have seen them closing: a bound that is too high does no harm.
        """
        self._before_gap = None
        there: dict[Identity, Connection] = {}
        for sight in (*before, *([self._after] if self._after else [])):
            there.update(sight.connections)
        seen = there.copy()
        places = before[0].namespaces & before[1].namespaces
        for vanished in left.keys() - there.keys():
            for account, position in left[vanished].position.items():
                high = self._high.get(account)
                if vanished[0] not in places:
                    self._lose(account)
                elif closed[account] >= max(1, position):
                    seen[vanished] = self._seen[vanished]  # to be found among the closed ones
                elif high is not None:
                    self._high[account] = high - left[vanished].counted[account]
        self._seen = seen
        accounts = self._accounts.list_all(there)
        self._unsettled |= {each for each in accounts if self._high.get(each) is not None}

    def _bound(self, dump: Dump, closed: Sums, closed_before: Sums) -> None:
        """Bound by the reading after the last dump, now that this one tells what closed meanwhile.

        And find out which accounts are settled: those that did not move around the last dump.
        """
        after, self._after = self._after, None
        if after is None or after.end_ns >= dump.end_ns:
            return
        if not self._namespaces <= after.namespaces:
            return  # it was made before connections were found elsewhere
        high = self._accounts.sum_high(after.connections)
        high.update(closed)
        unexplained = self._find_unexplained(after.connections, closed)
        counted = self._sum_counted()
        for account in (high.keys() | counted.keys() | self._unsettled) - unexplained:
            known, bound = self._high.get(account), high[account] - counted[account]
            if known is not None and bound < known and account in self._exact:
                self._lose(account)  # it was counted on connections that are out of sight
                continue
            # Below zero only where closings went unseen: otherwise the reading has left one out.
            self._high[account] = bound if known is None else min(known, max(0, bound))
            if (
                self._low is not None
                and self._low[account] == high[account]
                and account not in self._sending
            ):
                self._unsettled.discard(account)
                self._exact.add(account)
        if self._before_gap is None:
            for account in unexplained:
                self._lose(account)
            self._seen, self._closed_when_seen = after.connections, closed_before

    def _find_unexplained(self, connections: Connections, closed: Sums) -> set[Account]:
        """Accounts with a connection that is gone without having been seen closing.

        It may come back: then what it has moved would look like something that was missed. After a
        gap it is not known yet.
        """
        gone = {i: each for i, each in self._seen.items() if i not in connections}
        moved = self._accounts.sum_low(gone, gone)
        moved.subtract(closed)
        moved.update(self._closed_when_seen)
        return {account for account, count in moved.items() if count > 0}

    def _recover(self, dump: Dump, low: Sums) -> None:
        counted = self._sum_counted()
        for account in self._unsettled - self._sending:
            high = self._high.get(account)
            if high is None:
                continue
            missing = low[account] - counted[account] - high
            if missing > 0:
                slot = self._accounts.find_slot(account, dump, self._slots)
                key = (slot, account.client)
                self._recovered[key] = self._recovered.get(key, 0) + missing
                self.recovered_bytes[slot] += missing
                counted[account] += missing
        # What nobody was there to count is not missing when there was no gap: bytes that were
        # never read from a connection that has closed.
        for account in low.keys() - self._unsettled:
            known = self._high.get(account)
            if known is not None:
                self._high[account] = max(known, low[account] - counted[account])


def _add(dump: Dump, recovered: Mapping[tuple[Slot, str], int]) -> Dump:
    if not recovered:
        return dump
    totals, clients = Counter(dump.total_bytes), Counter(dump.client_bytes)
    for (slot, client), count in recovered.items():
        totals[slot] += count
        clients[slot, client] += count
    return replace(dump, total_bytes=totals, client_bytes=clients)

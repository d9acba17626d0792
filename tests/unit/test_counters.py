"""Dumps to exact differences, against a model that knows what really flowed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from nfszbx import counters as counters_module
from nfszbx.counters import Bytes, Counters, Delta, SavedCounters
from nfszbx.dump import Dump
from nfszbx.errors import DumpError
from nfszbx.traffic import OTHER, SLOTS, Direction, Service, Slot

DAY_SECONDS = 86_400.0
RECEIVE = Slot(Service.NFSD, Direction.RECEIVE)
TRANSMIT = Slot(Service.NFSD, Direction.TRANSMIT)
SECOND = 1_000_000_000


def dump(end: int, clients: dict[str, int], *, total: int | None = None, begin: int = 0) -> Dump:
    """A dump of received bytes; the total is that of the clients unless given."""
    total = sum(clients.values()) if total is None else total
    return Dump(
        begin * SECOND,
        end * SECOND,
        {RECEIVE: total} if total else {},
        {(RECEIVE, client): count for client, count in clients.items()},
    )


def advance(counters: Counters, dump: Dump) -> Delta:
    delta = counters.advance(dump)
    assert delta is not None
    return delta


def test_first_dump_counts_from_the_child_s_begin() -> None:
    delta = advance(Counters(10, DAY_SECONDS), dump(12, {"10.0.0.1": 5}, begin=10))
    assert (delta.elapsed_ns, delta.complete) == (2 * SECOND, True)
    assert delta.rows[RECEIVE, "10.0.0.1"].interval == 5


def test_differences_are_exact() -> None:
    counters = Counters(10, DAY_SECONDS)
    advance(counters, dump(1, {"a": 5}))
    delta = advance(counters, dump(3, {"a": 2**53 + 6, "b": 1}))
    assert delta.elapsed_ns == 2 * SECOND
    assert delta.rows[RECEIVE, "a"].interval == 2**53 + 1
    assert delta.rows[RECEIVE, "b"].interval == 1
    assert delta.totals[RECEIVE].total == 2**53 + 7
    assert delta.totals[TRANSMIT].total == 0


def test_new_child_starts_at_zero_and_counters_go_on() -> None:
    """The first interval of a new child is marked: what flowed before it was missed."""
    counters = Counters(10, DAY_SECONDS)
    advance(counters, dump(1, {"a": 5}))
    delta = advance(counters, dump(9, {"a": 3}, begin=8))
    assert (delta.complete, delta.elapsed_ns) == (False, SECOND)
    assert delta.rows[RECEIVE, "a"].interval == 3
    assert delta.rows[RECEIVE, "a"].total == 8
    assert advance(counters, dump(10, {"a": 3}, begin=8)).complete


def test_client_that_is_gone_after_a_new_child_keeps_its_row() -> None:
    counters = Counters(10, DAY_SECONDS)
    advance(counters, dump(1, {"a": 5}))
    delta = advance(counters, dump(9, {"b": 3}, begin=8))
    assert delta.rows[RECEIVE, "a"] == delta.rows[RECEIVE, "a"].__class__(0, 5)


def test_repeated_dump_adds_nothing() -> None:
    counters = Counters(10, DAY_SECONDS)
    advance(counters, dump(1, {"a": 5}))
    assert counters.advance(dump(1, {"a": 5})) is None


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (dump(1, {"a": 5}), "older"),
        (dump(3, {}), "has nothing|had"),
        (dump(3, {"a": 4}), "had 5 "),
        (dump(3, {"a": 5}, total=4), "had 5 "),
        (dump(3, {"a": 9}, begin=1), "began before"),
    ],
)
def test_dump_that_cannot_follow_is_refused(bad: Dump, message: str) -> None:
    """And changes nothing: the next good one brings everything."""
    counters = Counters(10, DAY_SECONDS)
    advance(counters, dump(2, {"a": 5}))
    with pytest.raises(DumpError, match=message):
        counters.advance(bad)
    delta = advance(counters, dump(4, {"a": 8}))
    assert (delta.rows[RECEIVE, "a"].interval, delta.elapsed_ns) == (3, 2 * SECOND)


def test_totals_without_clients_are_refused() -> None:
    """A first dump whose clients were lost must not make all of it 'other'."""
    with pytest.raises(DumpError, match="without clients"):
        Counters(10, DAY_SECONDS).advance(dump(1, {}, total=100))


def test_what_did_not_fit_into_the_map_is_other() -> None:
    counters = Counters(10, DAY_SECONDS)
    delta = advance(counters, dump(1, {"a": 5}, total=12))
    assert delta.rows[RECEIVE, OTHER].interval == 7
    assert delta.totals[RECEIVE].interval == 12


def test_totals_that_lag_behind_the_clients_are_harmless() -> None:
    """The totals are printed first; what arrives before the clients are printed is no error."""
    counters = Counters(10, DAY_SECONDS)
    delta = advance(counters, dump(1, {"a": 5}, total=3))
    assert delta.totals[RECEIVE].interval == 5
    delta = advance(counters, dump(2, {"a": 9}, total=7))
    assert delta.totals[RECEIVE].interval == 4
    assert delta.rows[RECEIVE, OTHER].total == 0


def test_goes_on_where_an_earlier_run_has_left_off() -> None:
    """What flowed between the two runs is not known: the first interval is not complete."""
    saved = SavedCounters({RECEIVE: 100}, {(RECEIVE, "a"): 60, (RECEIVE, OTHER): 40})
    counters = Counters(10, DAY_SECONDS, saved)
    delta = advance(counters, dump(1, {"a": 5, "b": 7}, total=13))
    assert not delta.complete
    assert delta.totals[RECEIVE] == Bytes(13, 113)
    assert delta.rows == {
        (RECEIVE, "a"): Bytes(5, 65),
        (RECEIVE, "b"): Bytes(7, 7),
        (RECEIVE, OTHER): Bytes(1, 41),
    }
    assert advance(counters, dump(2, {"a": 5, "b": 7}, total=13)).complete


def test_rows_go_to_the_clients_with_the_most_traffic() -> None:
    counters = Counters(2, DAY_SECONDS)
    delta = advance(counters, dump(1, {"a": 1, "b": 100, "c": 50}))
    assert {client for _, client in delta.rows} == {"b", "c", OTHER}
    assert delta.rows[RECEIVE, OTHER].interval == 1


def test_client_that_loses_and_regains_its_row_counts_on() -> None:
    """Its row never goes backwards, and other keeps what flowed in between."""
    counters = Counters(1, DAY_SECONDS)
    assert advance(counters, dump(1, {"a": 10, "b": 1})).rows[RECEIVE, "a"].total == 10
    delta = advance(counters, dump(2, {"a": 11, "b": 1001}))
    assert delta.rows[RECEIVE, "b"].total == 1000
    assert (RECEIVE, "a") not in delta.rows
    delta = advance(counters, dump(3, {"a": 100_011, "b": 1001}))
    assert delta.rows[RECEIVE, "a"].total == 10 + 100_000
    assert delta.rows[RECEIVE, OTHER].total == 1 + 1


def test_idle_client_leaves_and_counts_on_when_it_comes_back() -> None:
    """Its counter never goes backwards, so increase() over the gap is what has flowed."""
    counters = Counters(10, client_idle_seconds=60)
    advance(counters, dump(1, {"a": 10, "b": 1}))
    assert advance(counters, dump(61, {"a": 10, "b": 2})).rows[RECEIVE, "a"] == Bytes(0, 10)
    delta = advance(counters, dump(62, {"a": 10, "b": 2}))
    assert set(delta.rows) == {(RECEIVE, "b"), (RECEIVE, OTHER)}
    assert delta.totals[RECEIVE].total == 12
    delta = advance(counters, dump(200, {"a": 15, "b": 2}))
    assert delta.rows == {(RECEIVE, "a"): Bytes(5, 15), (RECEIVE, OTHER): Bytes(0, 0)}


def test_idle_time_goes_on_while_nothing_is_measured() -> None:
    """And over the end of a child: the clock of the dumps is that of the machine."""
    counters = Counters(10, client_idle_seconds=60)
    advance(counters, dump(1, {"a": 10}))
    delta = advance(counters, dump(62, {"b": 1}, begin=61))
    assert set(delta.rows) == {(RECEIVE, "b"), (RECEIVE, OTHER)}


def test_idle_client_frees_its_place() -> None:
    """One that has moved a lot keeps its row before others for long, but not for ever."""
    counters = Counters(1, client_idle_seconds=60)
    advance(counters, dump(1, {"a": 10**12}))
    assert (RECEIVE, "b") not in advance(counters, dump(2, {"a": 10**12, "b": 9})).rows
    delta = advance(counters, dump(62, {"a": 10**12, "b": 10}))
    assert set(delta.rows) == {(RECEIVE, "b"), (RECEIVE, OTHER)}
    assert delta.rows[RECEIVE, OTHER].total == 9


def test_shown_rows_are_never_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even when there are more of them than of hidden ones that are remembered."""
    monkeypatch.setattr(counters_module, "MAX_REMEMBERED", -5)  # and six for three clients
    counters = Counters(3, DAY_SECONDS)
    delta = advance(counters, dump(1, {"a": 9, "b": 8, "c": 7}, total=30))
    assert {client for _, client in delta.rows} == {"a", "b", "c", OTHER}
    # Three new ones push the old ones out; of these one is remembered, and OTHER is there still.
    delta = advance(
        counters, dump(2, {"a": 9, "b": 8, "c": 7, "d": 99, "e": 99, "f": 99}, total=330)
    )
    assert {client for _, client in delta.rows} == {"d", "e", "f", OTHER}
    assert sum(row.interval for row in delta.rows.values()) == 300
    delta = advance(
        counters,
        dump(3, {"a": 999, "b": 998, "c": 997, "d": 99, "e": 99, "f": 99}, total=3300),
    )
    assert {client for _, client in delta.rows} == {"a", "b", "c", OTHER}
    totals = sorted(row.total for (_, client), row in delta.rows.items() if client != OTHER)
    assert totals.count(990) == 2  # began anew
    assert max(totals) == 997  # c, the last in order, counted on from 7


class Server(RuleBasedStateMachine):
    """A kernel whose truth is known, dumps that are faithful, torn or repeated, and restarts."""

    clients = st.sampled_from([f"10.0.0.{number}" for number in range(8)])
    slots = st.sampled_from(SLOTS)

    @initialize(
        max_clients=st.integers(1, 9), map_entries=st.integers(1, 40), idle_ns=st.integers(1, 20)
    )
    def start(self, max_clients: int, map_entries: int, idle_ns: int) -> None:
        self.counters = Counters(max_clients, idle_ns / SECOND)
        self.max_clients = max_clients
        self.idle_ns = idle_ns
        self.active_ns: dict[str, int] = {}
        self.map_entries = map_entries
        self.now = 0
        self.last: Delta | None = None
        self.seen: dict[tuple[Slot, str], int] = {}
        self.finished = dict.fromkeys(SLOTS, 0)
        self.start_child()

    def start_child(self) -> None:
        self.now += 1
        self.begin = self.now
        self.total: dict[Slot, int] = {}
        self.map: dict[tuple[Slot, str], int] = {}
        self.dumped: dict[Slot, int] = {}
        self.last_dump: Dump | None = None

    @rule(slot=slots, client=clients, count=st.integers(1, 2**40))
    def flow(self, slot: Slot, client: str, count: int) -> None:
        if (slot, client) in self.map or len(self.map) < self.map_entries:
            self.map[slot, client] = self.map.get((slot, client), 0) + count
        self.total[slot] = self.total.get(slot, 0) + count

    @rule(late=st.dictionaries(st.tuples(slots, clients), st.integers(1, 1000), max_size=3))
    def dump(self, late: dict[tuple[Slot, str], int]) -> None:
        """A good dump; some bytes arrive after its totals and before its clients are read."""
        self.now += 1
        total = dict(self.total)
        for (slot, client), count in late.items():
            self.flow(slot, client, count)
        self.last_dump = Dump(self.begin, self.now, total, dict(self.map))
        delta = self.counters.advance(self.last_dump)
        assert delta is not None
        self.check(delta)
        covered = dict.fromkeys(SLOTS, 0)
        for (slot, _), count in self.map.items():
            covered[slot] += count
        for slot in SLOTS:
            # Never more than flowed; all that was seen in the totals or in the clients.
            counted = delta.totals[slot].total - self.finished[slot]
            assert counted <= self.total.get(slot, 0)
            assert counted >= max(covered[slot], total.get(slot, 0))
            self.dumped[slot] = counted

    @rule(data=st.data())
    def incomplete_dump(self, data: st.DataObject) -> None:
        """Records that were lost: refused, or harmless, but never a wrong number."""
        self.now += 1
        keep = data.draw(st.sets(st.sampled_from(sorted(self.map)))) if self.map else set()
        total = dict(self.total) if data.draw(st.booleans()) else {}
        partial = {key: self.map[key] for key in keep} if data.draw(st.booleans()) else {}
        if partial and len(partial) < len(self.map):
            return  # bpftrace prints a map in one record: it is there whole, or not at all
        lost = Dump(self.begin, self.now, total, partial)
        try:
            delta = self.counters.advance(lost)
        except DumpError:
            return
        assert delta is not None
        self.check(delta)
        for slot in SLOTS:
            counted = delta.totals[slot].total - self.finished[slot]
            assert self.dumped.get(slot, 0) <= counted <= self.total.get(slot, 0)
            self.dumped[slot] = counted
        self.last_dump = lost

    @rule()
    def repeat_dump(self) -> None:
        if self.last_dump is not None:
            assert self.counters.advance(self.last_dump) is None

    @rule(nanoseconds=st.integers(1, 30))
    def pause(self, nanoseconds: int) -> None:
        self.now += nanoseconds

    @rule()
    def restart_child(self) -> None:
        for slot in SLOTS:
            self.finished[slot] += self.dumped.get(slot, 0)
        self.start_child()

    def check(self, delta: Delta) -> None:
        """What holds in every delta."""
        for slot in SLOTS:
            rows = [row for (where, _), row in delta.rows.items() if where == slot]
            assert sum(row.interval for row in rows) == delta.totals[slot].interval
        shown = {client for _, client in delta.rows} - {OTHER}
        assert len(shown) <= self.max_clients
        active = {client for clients in delta.clients.values() for client in clients} - {OTHER}
        self.active_ns |= dict.fromkeys(active, delta.end_ns)
        oldest_ns = delta.end_ns - self.idle_ns
        assert all(self.active_ns[client] >= oldest_ns for client in shown)
        recent = {client for client, ns in self.active_ns.items() if ns >= oldest_ns}
        if len(recent) <= self.max_clients:
            assert active <= shown
        for key, row in delta.rows.items():
            assert row.interval >= 0
            assert row.total >= self.seen.get(key, 0)
            self.seen[key] = row.total
        for slot in SLOTS:  # also of the clients that have left
            counted = sum(total for (where, _), total in self.seen.items() if where == slot)
            assert counted == delta.totals[slot].total
        if self.last is not None:
            for slot in SLOTS:
                assert delta.totals[slot].total - self.last.totals[slot].total == (
                    delta.totals[slot].interval
                )
        assert delta.elapsed_ns > 0
        self.last = delta

    @invariant()
    def nothing_is_counted_twice(self) -> None:
        if self.last is not None:
            for slot in SLOTS:
                assert self.last.totals[slot].total <= self.finished[slot] + self.total.get(slot, 0)


Server.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestServer = Server.TestCase


@given(st.dictionaries(st.text(min_size=1, max_size=3), st.integers(0, 10), max_size=30))
def test_cumulative_rows_add_up_while_no_client_loses_its_row(clients: dict[str, int]) -> None:
    clients.pop(OTHER, None)
    delta = Counters(30, DAY_SECONDS).advance(dump(1, clients))
    assert delta is not None
    rows = sum(row.total for (slot, _), row in delta.rows.items() if slot == RECEIVE)
    assert rows == delta.totals[RECEIVE].total

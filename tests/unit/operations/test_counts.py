"""Dumps to counters of operations, against a model that knows what was really requested."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from nfszbx.errors import DumpError
from nfszbx.operations.cells import Cell, Outcome, Row, TimeCell, What
from nfszbx.operations.counts import OperationsCounters, OperationsDelta
from nfszbx.operations.dump import (
    Buckets,
    Call,
    DataOperation,
    Kind,
    OperationsDump,
    Origin,
    Request,
)
from nfszbx.operations.names import expand_shape, find_principal, name_procedure

DAY_SECONDS = 86_400.0
LABELS = ("client", "export", "operation")
SECOND = 1_000_000_000
READ = 0x35161909  # SEQUENCE PUTFH READ GETATTR
OPEN = 0x35161203  # SEQUENCE PUTFH OPEN ACCESS
HERE = Origin("10.0.0.7", 30, 0, 0)
THERE = Origin("10.0.0.8", 31, 5, 0)
V4_READ = Request(4, 1, 0, Kind.EXECUTED, 0, READ)
V3_READ = Request(3, 0, 0, Kind.EXECUTED, 0, 6)


def find_export(mount: int, inode: int) -> str:
    return f"/srv/{mount}/{inode}"


def make_counters(
    labels: tuple[str, ...] = LABELS,
    max_rows: int = 10,
    *,
    by_client: bool = False,
) -> OperationsCounters:
    return OperationsCounters(
        labels,
        max_rows,
        DAY_SECONDS,
        find_export,
        latency_by_client=by_client,
    )


def make_dump(
    end: int,
    requests: dict[tuple[Request, Origin], int] | None = None,
    *,
    begin: int = 0,
    latency: dict[tuple[Call, str], Buckets] | None = None,
) -> OperationsDump:
    return OperationsDump(
        begin * SECOND, end * SECOND, requests or {(V4_READ, HERE): 1}, latency=latency or {}
    )


def advance(counters: OperationsCounters, dump: OperationsDump) -> OperationsDelta:
    delta = counters.advance(dump)
    assert delta is not None
    return delta


def count_operations(delta: OperationsDelta, row: Row) -> dict[tuple[str, str], int]:
    return {
        (cell.version, cell.operation): count
        for cell, count in delta.rows[row].total.items()
        if cell.what is What.OPERATIONS
    }


def test_compound_is_expanded() -> None:
    delta = advance(make_counters(), make_dump(2, {(V4_READ, HERE): 5}))
    row = Row("10.0.0.7", "/srv/30/0", "")
    assert count_operations(delta, row) == {
        ("4.1", name): 5 for name in ("SEQUENCE", "PUTFH", "READ", "GETATTR")
    }
    assert delta.requests == {Outcome("4.1", "COMPOUND", "executed"): 5}
    assert delta.operations["4", "READ"] == 5
    assert delta.elapsed_ns == 2 * SECOND


def test_operation_that_stands_twice_in_a_compound_counts_twice() -> None:
    shape = 0x35161609  # SEQUENCE PUTFH PUTFH GETATTR
    request = V4_READ._replace(shape=shape)
    delta = advance(make_counters(), make_dump(1, {(request, HERE): 3}))
    assert delta.operations["4", "PUTFH"] == 6
    assert (
        delta.rows[Row("10.0.0.7", "/srv/30/0", "")].total[Cell(What.OPERATIONS, "4.1", "PUTFH")]
        == 6
    )


def test_error_belongs_to_the_last_operation() -> None:
    failed = V4_READ._replace(status=10025, shape=0x351619)
    delta = advance(make_counters(), make_dump(1, {(failed, HERE): 2, (V4_READ, HERE): 1}))
    (tally,) = delta.rows.values()
    assert {cell: n for cell, n in tally.total.items() if cell.what is What.ERRORS} == {
        Cell(What.ERRORS, "4.1", "READ", "BAD_STATEID"): 2
    }
    assert tally.total[Cell(What.OPERATIONS, "4.1", "READ")] == 3


def test_long_compound_is_one_request() -> None:
    more = V4_READ._replace(chunk=1, shape=0x09, status=13)
    delta = advance(make_counters(), make_dump(1, {(V4_READ, HERE): 2, (more, HERE): 2}))
    assert delta.requests == {Outcome("4.1", "COMPOUND", "executed"): 2}
    assert delta.operations["4", "GETATTR"] == 4
    (tally,) = delta.rows.values()
    assert tally.total[Cell(What.ERRORS, "4.1", "GETATTR", "ACCESS")] == 2


def test_requests_that_were_not_executed_are_no_operations() -> None:
    """But the kernel counts them by procedure in versions 2 and 3."""
    kinds = {
        (V3_READ, HERE): 1,
        (V3_READ._replace(kind=Kind.CACHED), HERE): 2,
        (V3_READ._replace(kind=Kind.DROPPED), HERE): 4,
        (V3_READ._replace(kind=Kind.UNDECODABLE), HERE): 8,
        (V3_READ._replace(kind=Kind.ACL, shape=1), HERE): 16,
        (Request(4, 0, 0, Kind.DROPPED, 0, 1), HERE): 32,
        (Request(4, 0, 0, Kind.EXECUTED, 0, 0), HERE): 64,
    }
    delta = advance(make_counters(), make_dump(1, kinds))
    assert delta.requests == {
        Outcome("3", "READ", "executed"): 1,
        Outcome("3", "READ", "cached"): 2,
        Outcome("3", "READ", "dropped"): 4,
        Outcome("3", "READ", "undecodable"): 8,
        Outcome("3", "NFSACL_GETACL", "executed"): 16,
        Outcome("4", "COMPOUND", "dropped"): 32,
        Outcome("4", "NULL", "executed"): 64,
    }
    assert delta.operations == {("3", "READ"): 15}
    assert count_operations(delta, Row("10.0.0.7", "/srv/30/0", "")) == {
        ("3", "READ"): 1,
        ("3", "NFSACL_GETACL"): 16,
    }


def test_bytes_by_what_moved_them() -> None:
    moved = {
        (DataOperation(4, 2, 25), HERE): 1,
        (DataOperation(4, 2, 68), HERE): 2,
        (DataOperation(4, 2, 38), HERE): 4,
        (DataOperation(4, 2, 60), HERE): 8,
        (DataOperation(3, 0, 6), HERE): 16,
        (DataOperation(3, 0, 7), HERE): 32,
        (DataOperation(2, 0, 6), HERE): 64,
        (DataOperation(2, 0, 8), HERE): 128,
    }
    delta = advance(make_counters(), replace(make_dump(1), moved_bytes=moved))
    (tally,) = delta.rows.values()
    cells = {cell: n for cell, n in tally.total.items() if cell.what is not What.OPERATIONS}
    assert cells == {
        Cell(What.READ_BYTES, "4.2", "READ"): 1,
        Cell(What.READ_BYTES, "4.2", "READ_PLUS"): 2,
        Cell(What.WRITE_BYTES, "4.2", "WRITE"): 4,
        Cell(What.COPY_BYTES, "4.2", "COPY"): 8,
        Cell(What.READ_BYTES, "3", "READ"): 16,
        Cell(What.WRITE_BYTES, "3", "WRITE"): 32,
        Cell(What.READ_BYTES, "2", "READ"): 64,
        Cell(What.WRITE_BYTES, "2", "WRITE"): 128,
    }
    assert delta.moved_bytes["read"] == 1 + 2 + 16 + 64
    assert delta.moved_bytes["write"] == 4 + 32 + 128


def test_labels_that_are_off_are_empty_and_add_up() -> None:
    requests = {(V4_READ, HERE): 1, (V4_READ, THERE): 2, (V4_READ, THERE._replace(user=7)): 4}
    delta = advance(make_counters(()), make_dump(1, requests))
    assert delta.rows.keys() == {Row("", "", "")}
    assert delta.exports == delta.clients == {"other": {What.OPERATIONS: 4 * 7}}
    assert delta.rows[Row("", "", "")].total == {Cell(What.OPERATIONS, "4.1", ""): 4 * 7}
    delta = advance(make_counters(("user",)), make_dump(1, requests))
    assert delta.rows.keys() == {Row("", "", "0"), Row("", "", "7")}


def test_rest_is_other_where_labels_are_on() -> None:
    requests = {(V3_READ, HERE): 9, (V3_READ, THERE): 2, (V3_READ, THERE._replace(inode=6)): 1}
    delta = advance(make_counters(max_rows=1), make_dump(1, requests))
    assert count_operations(delta, Row("10.0.0.7", "/srv/30/0", "")) == {("3", "READ"): 9}
    assert count_operations(delta, Row("other", "other", "")) == {("3", "READ"): 3}


def test_two_keys_of_one_path() -> None:
    counters = OperationsCounters(LABELS, 10, DAY_SECONDS, lambda *_: "/srv")
    requests = {(V3_READ, HERE): 1, (V3_READ, HERE._replace(mount=77)): 2}
    delta = advance(counters, make_dump(1, requests))
    assert count_operations(delta, Row("10.0.0.7", "/srv", "")) == {("3", "READ"): 3}


NULL = Request(3, 0, 0, Kind.EXECUTED, 0, 0)


@pytest.mark.parametrize(
    ("request_", "export"),
    [
        (V3_READ._replace(status=70), "unknown"),  # STALE
        (V3_READ._replace(version=2), "unknown"),
        (V3_READ._replace(shape=18), "unknown"),  # FSSTAT, whose answer has no handle
        (Request(3, 0, 0, Kind.ACL, 0, 1), "unknown"),
        (V4_READ._replace(shape=0x3516, status=70), "unknown"),  # SEQUENCE PUTFH
        (V4_READ._replace(shape=0x35), "none"),
        (V4_READ._replace(shape=0x2A), "none"),  # EXCHANGE_ID
        (NULL, "none"),
        (NULL._replace(kind=Kind.ACL), "none"),
    ],
)
def test_handle_that_was_not_resolved_is_no_missing_one(request_: Request, export: str) -> None:
    nowhere = HERE._replace(mount=0)
    delta = advance(make_counters(), make_dump(1, {(request_, nowhere): 4}))
    assert delta.rows.keys() == {Row("10.0.0.7", export, "")}
    assert delta.exports.keys() == {export}
    delta = advance(make_counters(("client",)), make_dump(1, {(request_, nowhere): 4}))
    assert delta.rows.keys() == {Row("10.0.0.7", "", "")}


def test_bytes_without_an_export_have_an_unknown_one() -> None:
    moved = {(DataOperation(2, 0, 6), HERE._replace(mount=0)): 5}
    delta = advance(make_counters(), replace(make_dump(1), moved_bytes=moved))
    assert delta.exports["unknown"] == {What.OPERATIONS: 0, What.READ_BYTES: 5}


def test_path_that_is_known_later_moves_nothing() -> None:
    """What could not be resolved stays unknown; only what comes after has the path."""
    paths: dict[int, str] = {}
    counters = OperationsCounters(
        LABELS, 10, DAY_SECONDS, lambda mount, _: paths.get(mount, "unknown")
    )
    advance(counters, make_dump(1, {(V3_READ, HERE): 5}))
    paths[30] = "/srv"
    delta = advance(counters, make_dump(2, {(V3_READ, HERE): 7}))
    assert count_operations(delta, Row("10.0.0.7", "unknown", "")) == {("3", "READ"): 5}
    assert count_operations(delta, Row("10.0.0.7", "/srv", "")) == {("3", "READ"): 2}


def test_only_exports_of_what_has_grown_are_asked_for() -> None:
    asked: list[int] = []

    def ask(mount: int, _: int) -> str:
        asked.append(mount)
        return "/srv"

    counters = OperationsCounters(LABELS, 10, DAY_SECONDS, ask)
    requests = {(request, origin): 1 for request in (V3_READ, V4_READ) for origin in (HERE, THERE)}
    advance(counters, make_dump(1, requests))
    assert sorted(asked) == [30, 31]
    advance(counters, make_dump(2, requests | {(V3_READ, HERE): 2}))
    assert sorted(asked) == [30, 30, 31]


def test_times_are_booked_to_the_principal_operation() -> None:
    latency: dict[tuple[Call, str], Buckets] = {
        (Call(4, 1, READ), "10.0.0.7"): {3: 2},
        (Call(4, 1, 0x351619), "10.0.0.8"): {3: 1, 4: 1},
        (Call(3, 0, 6), "10.0.0.7"): {0: 1},
        (Call(4, 0, 0), "10.0.0.7"): {1: 1},
    }
    dump = replace(
        make_dump(1, latency=latency), spent_ns=dict.fromkeys(latency, 7), waits={2: 1}, waited_ns=9
    )
    counters = make_counters()
    delta = advance(counters, dump)
    assert delta.times.keys() == {""}
    assert delta.times[""].total == {
        TimeCell("4.1", "READ", 3): 3,
        TimeCell("4.1", "READ", 4): 1,
        TimeCell("4.1", "READ", None): 14,
        TimeCell("3", "READ", 0): 1,
        TimeCell("3", "READ", None): 7,
        TimeCell("4", "NULL", 1): 1,
        TimeCell("4", "NULL", None): 7,
    }
    assert (delta.waits, delta.waited_ns) == ({2: 1}, 9)
    delta = advance(counters, replace(dump, end_ns=2 * SECOND, waits={2: 1, 3: 4}, waited_ns=10))
    assert delta.times[""].interval == {}
    assert (delta.waits, delta.waited_ns) == ({2: 1, 3: 4}, 10)
    assert delta.interval_waits == {3: 4}


def test_times_by_client() -> None:
    latency: dict[tuple[Call, str], Buckets] = {
        (Call(3, 0, 6), f"10.0.0.{n}"): {n: n} for n in (1, 2, 3)
    }
    delta = advance(make_counters(max_rows=1, by_client=True), make_dump(1, latency=latency))
    assert {client: dict(tally.total) for client, tally in delta.times.items()} == {
        "10.0.0.3": {TimeCell("3", "READ", 3): 3},
        "other": {TimeCell("3", "READ", 1): 1, TimeCell("3", "READ", 2): 2},
    }


def test_new_child_goes_on_where_the_last_one_has_left_off() -> None:
    counters = make_counters()
    advance(counters, make_dump(1, {(V3_READ, HERE): 5}))
    delta = advance(counters, make_dump(9, {(V3_READ, HERE): 3}, begin=8))
    (tally,) = delta.rows.values()
    assert (dict(tally.total), dict(tally.interval)) == (
        {Cell(What.OPERATIONS, "3", "READ"): 8},
        {Cell(What.OPERATIONS, "3", "READ"): 3},
    )
    assert delta.elapsed_ns == SECOND


def test_repeated_dump_adds_nothing() -> None:
    counters = make_counters()
    advance(counters, make_dump(1))
    assert counters.advance(make_dump(1)) is None


TIMED = make_dump(2, latency={(Call(3, 0, 6), "::"): {3: 5, 4: 2**30}})


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (replace(TIMED, end_ns=SECOND), "older"),
        (replace(TIMED, end_ns=3 * SECOND, requests={}), "times without requests"),
        (replace(TIMED, end_ns=3 * SECOND, latency={}), "are missing"),
        (replace(TIMED, end_ns=3 * SECOND, requests={(V3_READ, HERE): 1}), "had 1"),
        (make_dump(3, latency={(Call(3, 0, 6), "::"): {4: 2**30}}), "had 5"),
        (make_dump(3, latency={(Call(3, 0, 6), "::"): {3: 5, 4: 7}}), "now has 7"),
        (make_dump(3, begin=1), "began before"),
    ],
)
def test_dump_that_cannot_follow_is_refused(bad: OperationsDump, message: str) -> None:
    """And changes nothing: the next good one brings everything."""
    counters = make_counters()
    advance(counters, TIMED)
    with pytest.raises(DumpError, match=message):
        counters.advance(bad)
    later = replace(TIMED, end_ns=4 * SECOND, requests={(V4_READ, HERE): 4})
    delta = advance(counters, later)
    assert (delta.operations["4", "READ"], delta.elapsed_ns) == (4, 2 * SECOND)


SHAPES = st.lists(st.integers(3, 75), min_size=1, max_size=8).map(
    lambda numbers: int.from_bytes(bytes(numbers), "big")
)
REQUESTS = st.builds(
    Request,
    st.just(4),
    st.integers(0, 2),
    st.integers(0, 1),
    st.just(Kind.EXECUTED),
    st.sampled_from([0, 0, 2, 10025]),
    SHAPES | st.sampled_from([READ, OPEN]),
) | st.builds(
    Request,
    st.integers(2, 3),
    st.just(0),
    st.just(0),
    st.sampled_from(Kind),
    st.sampled_from([0, 70]),
    st.integers(0, 21),
)
ORIGINS = st.builds(
    Origin,
    st.sampled_from(["10.0.0.1", "10.0.0.2", "::1"]),
    st.integers(0, 2),
    st.integers(0, 1),
    st.integers(0, 1),
)
DATA = st.sampled_from([DataOperation(4, 1, 25), DataOperation(4, 2, 60), DataOperation(3, 0, 7)])
CALLS = st.builds(Call, st.just(4), st.integers(0, 2), st.sampled_from([READ, OPEN])) | st.builds(
    Call, st.just(3), st.just(0), st.integers(1, 21)
)


class Server(RuleBasedStateMachine):
    """A kernel whose truth is known, dumps that are faithful, torn or repeated, and restarts."""

    @initialize(
        labels=st.sets(st.sampled_from(["client", "export", "operation", "user"])),
        max_rows=st.integers(1, 9),
        idle_ns=st.integers(1, 20),
        by_client=st.booleans(),
    )
    def start(self, labels: set[str], max_rows: int, idle_ns: int, *, by_client: bool) -> None:
        self.paths: dict[tuple[int, int], str] = {}
        self.counters = OperationsCounters(
            labels,
            max_rows,
            idle_ns / SECOND,
            lambda *key: self.paths.get(key, "unknown"),
            latency_by_client=by_client,
        )
        self.labels = labels
        self.max_rows = max_rows
        self.now = 0
        self.truth: Counter[Cell] = Counter()
        self.added: Counter[Cell] = Counter()
        self.time_truth: Counter[TimeCell] = Counter()
        self.time_added: Counter[TimeCell] = Counter()
        self.seen: dict[tuple[object, object], int] = {}
        self.start_child()

    def start_child(self) -> None:
        self.now += 1
        self.begin = self.now
        self.requests: Counter[tuple[Request, Origin]] = Counter()
        self.moved: Counter[tuple[DataOperation, Origin]] = Counter()
        self.latency: dict[tuple[Call, str], dict[int, int]] = {}
        self.spent: Counter[tuple[Call, str]] = Counter()
        self.last_dump: OperationsDump | None = None
        self.pending: Counter[Cell] = Counter()
        self.time_pending: Counter[TimeCell] = Counter()

    @rule(request=REQUESTS, origin=ORIGINS, count=st.integers(1, 2**40))
    def request(self, request: Request, origin: Origin, count: int) -> None:
        self.requests[request, origin] += count
        names: tuple[str, ...] = ()
        version = f"4.{request.minor}" if request.version == 4 else str(request.version)
        if request.version == 4:
            names = expand_shape(request.shape)
        elif request.kind in {Kind.EXECUTED, Kind.ACL}:
            is_acl = request.kind is Kind.ACL
            names = (name_procedure(request.version, request.shape, is_acl=is_acl),)
        for name in names:
            self.pending[Cell(What.OPERATIONS, version, self.label(name))] += count
        if names and request.status:
            status = {2: "NOENT", 70: "STALE", 10025: "BAD_STATEID"}[request.status]
            self.pending[Cell(What.ERRORS, version, self.label(names[-1]), status)] += count

    def label(self, name: str) -> str:
        return name if "operation" in self.labels else ""

    @rule(operation=DATA, origin=ORIGINS, count=st.integers(1, 2**40))
    def move(self, operation: DataOperation, origin: Origin, count: int) -> None:
        self.moved[operation, origin] += count
        what, version, name = {
            25: (What.READ_BYTES, "4.1", "READ"),
            60: (What.COPY_BYTES, "4.2", "COPY"),
            7: (What.WRITE_BYTES, "3", "WRITE"),
        }[operation.number]
        self.pending[Cell(what, version, self.label(name))] += count

    @rule(call=CALLS, client=st.sampled_from(["::1", "10.0.0.1"]), spent_ns=st.integers(0, 2**40))
    def time(self, call: Call, client: str, spent_ns: int) -> None:
        self.request(Request(*call[:2], 0, Kind.EXECUTED, 0, call.shape), HERE, 1)
        bucket = (spent_ns // 1000).bit_length()
        buckets = self.latency.setdefault((call, client), {})
        buckets[bucket] = buckets.get(bucket, 0) + 1
        self.spent[call, client] += spent_ns
        if call.version == 4:
            version, name = f"4.{call.minor}", find_principal(expand_shape(call.shape))
        else:
            version, name = "3", name_procedure(3, call.shape)
        self.time_pending[TimeCell(version, self.label(name), bucket)] += 1
        self.time_pending[TimeCell(version, self.label(name), None)] += spent_ns

    @rule(mount=st.integers(0, 2), inode=st.integers(0, 1))
    def learn_path(self, mount: int, inode: int) -> None:
        self.paths[mount, inode] = f"/srv/{mount}"

    @rule()
    def dump(self) -> None:
        self.now += 1
        latency = {key: dict(buckets) for key, buckets in self.latency.items()}
        self.last_dump = OperationsDump(
            self.begin, self.now, dict(self.requests), dict(self.moved), latency, dict(self.spent)
        )
        delta = self.counters.advance(self.last_dump)
        assert delta is not None
        self.truth += self.pending
        self.time_truth += self.time_pending
        self.pending.clear()
        self.time_pending.clear()
        self.check(delta)

    @rule(data=st.data())
    def damaged_dump(self, data: st.DataObject) -> None:
        """Records that were lost, of what was there before: refused, and nothing happens."""
        last = self.last_dump
        if last is None or not last.requests:
            return
        self.now += 1
        damages = [
            replace(last, end_ns=self.now, requests={}),
            replace(last, end_ns=self.now, requests=dict.fromkeys(last.requests, 0)),
            replace(last, end_ns=last.end_ns - 1),
        ]
        if last.end_ns - 1 > last.begin_ns:
            damages.append(replace(last, begin_ns=last.end_ns - 1, end_ns=self.now))
        damages += [replace(last, end_ns=self.now, moved_bytes={})] if last.moved_bytes else []
        damages += [replace(last, end_ns=self.now, latency={})] if last.latency else []
        damages += [replace(last, end_ns=self.now, spent_ns={})] if last.spent_ns else []
        with pytest.raises(DumpError):
            self.counters.advance(data.draw(st.sampled_from(damages)))

    @rule()
    def repeat_dump(self) -> None:
        if self.last_dump is not None:
            assert self.counters.advance(self.last_dump) is None

    @rule(nanoseconds=st.integers(1, 30))
    def pause(self, nanoseconds: int) -> None:
        self.now += nanoseconds

    @rule()
    def restart_child(self) -> None:
        """What came since the last dump is lost with it."""
        self.start_child()

    def check(self, delta: OperationsDelta) -> None:
        """Every operation is in exactly one row, and no counter goes backwards."""
        assert len(delta.rows) <= self.max_rows + 1
        for row, tally in delta.rows.items():
            self.added.update(tally.interval)
            for cell, count in tally.total.items():
                assert count >= self.seen.get((row, cell), 0)
                self.seen[row, cell] = count
        assert self.added == self.truth
        for client, times in delta.times.items():
            self.time_added.update(times.interval)
            for time, count in times.total.items():
                assert count >= self.seen.get((client, time), 0)
                self.seen[client, time] = count
        assert +self.time_added == +self.time_truth
        shown: Counter[Cell] = Counter()
        for tally in delta.rows.values():
            shown.update(tally.total)
        assert shown <= self.truth
        if not self.labels & {"client", "export", "user"}:
            assert shown == self.truth


Server.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestServer = Server.TestCase


@given(
    st.lists(st.tuples(REQUESTS, ORIGINS, st.integers(1, 5)), max_size=30),
    st.sets(st.integers(0, 30)),
    st.integers(1, 5),
)
def test_cuts_into_dumps_and_children_change_no_total(
    events: list[tuple[Request, Origin, int]], cuts: set[int], max_rows: int
) -> None:
    """A child that ends does so after a dump, here: nothing is lost."""
    whole, parts = make_counters(max_rows=100), make_counters(max_rows=max_rows)
    requests: Counter[tuple[Request, Origin]] = Counter()
    current: Counter[tuple[Request, Origin]] = Counter()
    begin, now, last = 1, 1, None
    for number, (request, origin, count) in enumerate(events):
        requests[request, origin] += count
        current[request, origin] += count
        now += 1
        if number in cuts:
            last = parts.advance(OperationsDump(begin, now, dict(current)))
            if number % 2:
                current.clear()
                begin = now = now + 1
    last = parts.advance(OperationsDump(begin, now + 1, dict(current)))
    expected = whole.advance(OperationsDump(1, now + 1, dict(requests)))
    assert last is not None
    assert expected is not None
    assert last.operations == expected.operations
    assert last.requests == expected.requests

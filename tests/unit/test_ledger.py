"""What is recovered has flowed, whatever dies when; and in the end nothing is missing.

But for what connections have moved that ended while nobody looked.
"""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nfszbx.dump import Dump
from nfszbx.ledger import MAX_LOOKS
from nfszbx.traffic import Direction, name_client
from tests.ledger_machine import CLIENTS, KSMBD, Machine, address, begin, settle

counts = st.integers(1, 10**6)
queues = st.sampled_from([0, 0, 1000])
directions = st.sampled_from(list(Direction))
flow = st.tuples(st.just("flow"), st.integers(0, 5), directions, counts, queues)
close = st.tuples(st.just("close"), st.integers(0, 5))
opening = st.tuples(st.just("open"), st.integers(0, CLIENTS - 1))
traffic = st.one_of(flow, flow, flow, close, opening)
cycle = st.tuples(
    st.just("cycle"), st.booleans(), st.booleans(), st.none() | traffic, st.none() | traffic
)
events = st.lists(
    st.one_of(
        traffic,
        st.tuples(st.sampled_from(["start", "start"])),
        st.tuples(st.just("kill"), st.none() | traffic),
        cycle,
        cycle,
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
        case ("kill", first):
            machine.kill(lambda: happen(machine, first) if first else None)
        case ("start",):
            machine.start()
        case ("cycle", looks_before, looks_after, first, second):
            machine.cycle(
                looks_before=looks_before,
                looks_after=looks_after,
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


# The same cases each time: what is still open there is rarer than the kernel leaving one out twice.
@settings(max_examples=2000, deadline=None, derandomize=True)
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


def test_dumps_without_readings_before_a_gap() -> None:
    """What came and went since the last reading, but for what closed after the last dump."""
    machine = begin(Machine(), already=100)
    machine.open(0)
    settle(machine)
    for client in (0, 1):
        machine.cycle(looks_before=False, looks_after=False)
        machine.close(0)
        machine.open(client)
        move(machine, 1000)
    machine.open(CLIENTS)
    machine.flow(len(machine.sockets) - 1, Direction.RECEIVE, 70)
    machine.cycle(looks_before=False, looks_after=False)
    machine.kill()
    for number in range(len(machine.sockets)):
        machine.flow(number, Direction.RECEIVE, 500)
    settle(machine)
    assert machine.reported == machine.truth


def test_one_reading_after_a_dump() -> None:
    machine = begin(Machine())
    with pytest.raises(ValueError, match="there is a reading"):
        machine.ledger.take_after(machine.read())


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
    assert not machine.ledger.needs_readings  # they would tell nothing
    settle(machine)
    assert not machine.ledger.needs_readings
    assert find(machine) == {500}


def test_readings_from_before_a_gap_tell_nothing_after_it() -> None:
    """They were made for a dump that never came; a connection in them has ended in the gap."""
    machine = begin(Machine())
    for number in range(2):
        machine.open(0)
        machine.flow(number, Direction.RECEIVE, 1000)
    settle(machine)
    before = (machine.read(), machine.read())
    machine.kill()
    machine.flow(1, Direction.RECEIVE, 500)
    machine.close(0)
    machine.start()
    machine.ledger.take_dump(machine.dump(), before)
    machine.ledger.take_after(machine.read())
    settle(machine)
    assert find(machine) == {2500}


@pytest.mark.parametrize("dumps", [0, 5])
def test_server_that_is_found_later(dumps: int) -> None:
    """What it moved before was counted, and is in no reading of that time."""
    machine = Machine(namespaces=frozenset())
    machine.start()
    machine.cycle()
    machine.open(0)
    machine.flow(0, Direction.RECEIVE, 1000)
    machine.cycle(looks_before=False)
    machine.namespaces = frozenset({0, 1})
    machine.cycle(before_dump=lambda: machine.flow(0, Direction.RECEIVE, 50_000_000))
    for _ in range(dumps):
        machine.cycle(looks_before=False)
    machine.kill()
    settle(machine)


def test_client_of_two_servers_one_of_them_not_found() -> None:
    machine = Machine()
    machine.open(0, read=5_000_000)
    settle(machine)
    machine.open(0)
    hidden = frozenset({2})
    machine.flow(1, Direction.RECEIVE, 2_000_000)
    for _ in range(2):
        machine.cycle(looks_before=False, hidden=hidden)
    machine.close(1)
    for _ in range(2):
        machine.cycle(looks_before=False)
    machine.kill()
    settle(machine)


def test_connection_that_is_left_out_just_before_a_gap() -> None:
    """It does not begin at zero in the new child."""
    machine = begin(Machine())
    machine.open(0)
    machine.flow(0, Direction.RECEIVE, 100_000_000)
    machine.cycle(looks_before=False, hidden=frozenset({1}))
    machine.kill()
    settle(machine)
    assert find(machine) == {100_000_000}


def test_client_that_never_acknowledges_is_not_waited_for() -> None:
    machine = begin(Machine(), already=100)
    machine.kill()
    machine.flow(0, Direction.TRANSMIT, 500, queued=500)
    machine.start()
    machine.cycle()
    needed = []
    for _ in range(MAX_LOOKS):
        needed.append(machine.ledger.needs_readings)
        machine.cycle()
    assert (needed[0], needed[-1]) == (True, False)

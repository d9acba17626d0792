"""The table of a child's states: complete, and followed whatever happens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfszbx import catalog
from nfszbx.child.states import TRANSITIONS, ChildEvent, ChildLife, ChildState, EndReason

EVENTS = [*ChildEvent, *EndReason]


def test_every_event_can_happen_somewhere() -> None:
    assert {event for _, event in TRANSITIONS} == set(EVENTS)


def test_every_unasked_end_leads_to_waiting() -> None:
    ends = {key: state for key, state in TRANSITIONS.items() if isinstance(key[1], EndReason)}
    assert set(ends.values()) == {ChildState.WAITING}


def test_every_state_can_be_reached_and_left() -> None:
    assert set(TRANSITIONS.values()) == set(ChildState)
    for state in ChildState:
        assert any(
            before is state and after is not state for (before, _), after in TRANSITIONS.items()
        )


@given(st.lists(st.sampled_from(EVENTS), max_size=50))
def test_no_way_but_those_of_the_table(events: list[ChildEvent | EndReason]) -> None:
    """What has no place in the table changes nothing and is said."""
    life = ChildLife()
    for event in events:
        before = life.state, life.has_delivered
        if (life.state, event) in TRANSITIONS:
            life.take(event)
            assert life.state is TRANSITIONS[before[0], event]
        else:
            with pytest.raises(KeyError):
                life.take(event)
            assert (life.state, life.has_delivered) == before
        if life.state is ChildState.DELIVERING:
            assert life.has_delivered
        if life.state in {ChildState.WAITING, ChildState.STARTING}:
            assert not life.has_delivered


def test_help_of_the_metric_has_every_state() -> None:
    for state in ChildState:
        assert f"{state.value} {state.name.lower()}" in catalog.CHILD_STATE.help

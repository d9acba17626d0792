"""The table of a sink's states."""

from nfszbx import catalog
from nfszbx.sinks.states import TRANSITIONS, SinkEvent, SinkState


def test_gone_is_for_good_and_all_else_has_a_way() -> None:
    for state in SinkState:
        for event in SinkEvent:
            assert ((state, event) in TRANSITIONS) == (state is not SinkState.GONE)


def test_starting_does_not_come_back() -> None:
    assert set(TRANSITIONS.values()) == set(SinkState) - {SinkState.STARTING}


def test_help_of_the_metric_has_every_state() -> None:
    for state in SinkState:
        name = state.name.lower().replace("_", " ")
        assert f"{state.value} {name}" in catalog.SINK_STATE.help

"""What takes long is done more rarely, but not without end."""

from hypothesis import given
from hypothesis import strategies as st

from nfszbx.pace import Pace


def test_due_at_first_and_after_its_pause() -> None:
    pace = Pace(0.01, 10.0)
    assert pace.is_due(0.0)
    pace.note(100.0, 0.05)
    assert not pace.is_due(104.9)
    assert pace.is_due(105.0)


def test_longest_pause() -> None:
    pace = Pace(0.01, 10.0)
    pace.note(100.0, 0.5)
    assert not pace.is_due(109.9)
    assert pace.is_due(110.0)


@given(st.floats(0.0, 0.09), st.floats(0.1, 30.0))
def test_share_is_kept(cost: float, interval: float) -> None:
    """As long as no pause has to be longer than the longest one."""
    pace, spent, now = Pace(0.01, 10.0), 0.0, 0.0
    for _ in range(200):
        if pace.is_due(now):
            pace.note(now, cost)
            spent += cost
        now += interval
    assert spent - cost <= 0.01 * now * (1 + 1e-9)

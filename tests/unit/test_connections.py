"""Positions of connections hold whatever happens between what the kernel reads first and last."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from nfszbx.connections import Connection, Moved, bound_low

amounts = st.integers(0, 10_000)


@dataclass
class Socket:
    """A connection's two streams, as TCP keeps them."""

    arrived: int = 0
    read: int = 0
    written: int = 0
    acknowledged: int = 0
    has_ended: bool = False

    def move(self, steps: tuple[int, int, int, int]) -> None:
        arrived, read, written, acknowledged = steps
        self.arrived += arrived
        self.read = min(self.arrived, self.read + read)
        self.written += written
        self.acknowledged = min(self.written, self.acknowledged + acknowledged)

    @property
    def position(self) -> Moved:
        return Moved(self.read, self.written)

    def look(self, between: tuple[int, int, int, int]) -> Connection:
        """The queues first, then the counters; something moves ``between``."""
        queues = (self.arrived - self.read, self.written - self.acknowledged)
        self.move(between)
        counters = (self.acknowledged, self.arrived)
        fins = (self.has_ended, self.has_ended)
        return Connection(445, bytes(16), *fins, *queues, *counters)


moves = st.tuples(amounts, amounts, amounts, amounts)


@given(st.lists(moves, min_size=5, max_size=5))
def test_position_is_between_its_bounds(steps: list[tuple[int, int, int, int]]) -> None:
    connection = Socket()
    connection.move(steps[0])
    earlier = connection.look(steps[1])
    connection.move(steps[2])
    before = connection.position
    later = connection.look(steps[3])
    after = connection.position
    low, high = bound_low(earlier, later), later.bound_high()
    assert low.receive <= after.receive
    assert low.transmit <= after.transmit
    assert before.receive <= high.receive
    assert before.transmit <= high.transmit


@given(moves)
def test_bounds_meet_where_nothing_moves(steps: tuple[int, int, int, int]) -> None:
    connection = Socket()
    connection.move(steps)
    still = (0, 0, 0, 0)
    earlier, later = connection.look(still), connection.look(still)
    assert bound_low(earlier, later) == later.bound_high() == connection.position

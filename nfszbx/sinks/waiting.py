"""The intervals that the process with the sinks has not done with: bounded, and without a thread.

They are given to a new process again. An interval that it had handed on is kept as well, as long
as something that is made of several intervals is not complete: the bytes of clients for Zabbix.
"""

from collections import deque
from typing import NamedTuple

MAX_INTERVALS = 360
"""An hour of ten-second intervals."""
MAX_BYTES = 64_000_000
"""The other bound, on memory: with 500 clients, more than the first one."""


class Interval(NamedTuple):
    """One that waits."""

    number: int
    unix_seconds: float
    body: bytes


class WaitingIntervals:
    """Numbers begin at 1, and each is one more than the one before."""

    def __init__(self) -> None:
        self._intervals: deque[Interval] = deque()
        self._bytes = 0
        self._with_operations = 0
        """The number of the last one that has NFS operations."""
        self._kept: Interval | None = None
        """The same, when all have done with it: what it says of them is shown until the next."""
        self._last_number = self._sent_number = self._handed_on = 0
        self.done = 0
        """The last one of which no sink misses anything."""
        self.dropped = 0
        """Those that no process was given, since others came."""

    @property
    def next_number(self) -> int:
        """Of the interval that is added next."""
        return self._last_number + 1

    @property
    def unsent(self) -> int:
        """How many no process has had, as far as anybody knows."""
        return self.count_after(max(self._sent_number, self._handed_on))

    def add(self, unix_seconds: float, body: bytes, *, has_operations: bool = False) -> None:
        """The oldest are dropped when there are too many."""
        self._last_number += 1
        if has_operations:
            self._with_operations, self._kept = self._last_number, None
        self._intervals.append(Interval(self._last_number, unix_seconds, body))
        self._bytes += len(body)
        while len(self._intervals) > 1 and (
            len(self._intervals) > MAX_INTERVALS or self._bytes > MAX_BYTES
        ):
            number = self._remove_oldest().number
            self.dropped += number > max(self._handed_on, self._sent_number)

    def take_next(self) -> Interval | None:
        """The next one to be sent; it stays until it is done with."""
        kept = [] if self._kept is None else [self._kept]
        for interval in [*kept, *self._intervals]:
            if interval.number > self._sent_number:
                self._sent_number = interval.number
                return interval
        return None

    def note(self, handed_on: int, done: int) -> None:
        """Every sink has handed on those up to the one, and all up to the other are done with.

        The last one stays: there are sinks that show it, and another process has to begin with it;
        the last one with NFS operations as well, since these do not come with each.
        """
        self._handed_on = max(self._handed_on, min(handed_on, self._last_number))
        self.done = max(self.done, min(done, self._last_number))
        while len(self._intervals) > 1 and self._intervals[0].number <= self.done:
            oldest = self._remove_oldest()
            if oldest.number == self._with_operations:
                self._kept = oldest

    def begin_again(self) -> None:
        """All that wait are sent again, to another process."""
        self._sent_number = 0

    def list_ends(self) -> dict[int, float]:
        """Of all that wait, by number: the Unix time at which they ended."""
        return {interval.number: interval.unix_seconds for interval in self._intervals}

    def count_after(self, number: int) -> int:
        """How many wait beyond that one."""
        return sum(interval.number > number for interval in self._intervals)

    def _remove_oldest(self) -> Interval:
        oldest = self._intervals.popleft()
        self._bytes -= len(oldest.body)
        return oldest

"""How long to wait before the next start, and when restarts have become a crash loop.

Two things slow restarts down: starts that fail one after the other, and ends that are many in a
short time, even if each child delivers for a while. The second is a crash loop: an alarm that
begins, goes on and ends, rather than a line in the log for every end.
"""

from collections import deque
from enum import Enum, auto

LOOP_ENDS = 5
LOOP_SECONDS = 600.0
"""So many ends in that time are a crash loop."""
CALM_SECONDS = 300.0
"""So long one child must deliver for it to be over; less than what makes it begin again."""
REMINDER_SECONDS = 600.0
"""Between two messages while it lasts."""
MAX_BACK_OFF_SECONDS = 60.0


class LoopNews(Enum):
    """What an end means to whoever reads the log."""

    SINGLE = auto()
    """No crash loop: to be told as it is."""
    BEGINS = auto()
    REMINDER = auto()
    """It goes on, and was told long enough ago."""
    KNOWN = auto()
    """It goes on; nothing new."""


class CrashLoop:
    """All ends of children that nobody had asked to end. Times are of the monotonic clock."""

    def __init__(self) -> None:
        self.is_active = False
        self.ends = 0
        """Since the loop began, those that made it one included."""
        self.ends_since_dump = 0
        """Children in a row that ended without a single dump, and the one before them."""
        self.back_off_seconds = 0.0
        """After the last end: none after one of a child that was well, otherwise 1, 2, 4 ..."""
        self._recent: deque[float] = deque()
        self._told_at = 0.0

    def note_end(self, now: float) -> LoopNews:
        """A child has ended; sets the back-off."""
        self._recent.append(now)
        while self._recent[0] <= now - LOOP_SECONDS:
            self._recent.popleft()
        self.ends_since_dump += 1
        doublings = max(self.ends_since_dump - 2, len(self._recent) - LOOP_ENDS)
        self.back_off_seconds = min(MAX_BACK_OFF_SECONDS, 2.0**doublings) if doublings >= 0 else 0.0
        return self._judge(now)

    def _judge(self, now: float) -> LoopNews:
        if self.is_active:
            self.ends += 1
            if now - self._told_at < REMINDER_SECONDS:
                return LoopNews.KNOWN
            self._told_at = now
            return LoopNews.REMINDER
        if len(self._recent) < LOOP_ENDS:
            return LoopNews.SINGLE
        self.is_active, self.ends, self._told_at = True, len(self._recent), now
        return LoopNews.BEGINS

    def note_dump(self, now: float) -> bool:
        """A child has delivered; True when that ends the loop."""
        self.ends_since_dump = 0
        if not self.is_active or now - self._recent[-1] < CALM_SECONDS:
            return False
        self.is_active = False
        self._recent.clear()
        return True

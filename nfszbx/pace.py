"""When to do again what takes processor time, so that it takes a bounded part of a processor."""


class Pace:
    """Pauses after each time as long as it takes to bring the share down to what it may be."""

    def __init__(self, max_share: float, max_pause_seconds: float) -> None:
        """``max_share`` is a part of one processor.

        No pause is longer than ``max_pause_seconds``, whatever the share is then.
        """
        self._max_share = max_share
        self._max_pause_seconds = max_pause_seconds
        self._due_at = float("-inf")

    def is_due(self, now: float) -> bool:
        """Has the pause ended? ``now`` is on the monotonic clock, in seconds."""
        return now >= self._due_at

    def note(self, began: float, cpu_seconds: float) -> None:
        """It was done, beginning then, and has taken so much processor time."""
        self._due_at = began + min(self._max_pause_seconds, cpu_seconds / self._max_share)

"""How many entries the kernel's maps get: few at first, for their memory is taken at once."""

import sys
from dataclasses import replace

from nfszbx.operations.plan import OperationsPlan


class MapSize:
    """Twice as many each time that they are nearly full, up to the plan's limit."""

    def __init__(self) -> None:
        self._entries = 0
        self._limit = sys.maxsize
        """What the kernel had memory for, once it had not enough for more."""
        self._proven: int | None = None
        """The size that worked, while a larger one is on trial."""

    def apply(self, plan: OperationsPlan) -> OperationsPlan:
        """The plan for the next child."""
        limit = min(plan.map_limit, self._limit)
        entries = min(limit, max(plan.map_max_entries, self._entries))
        return replace(plan, map_limit=limit, map_max_entries=entries)

    def grow(self, plan: OperationsPlan) -> None:
        """Beyond what the plan has, whose child counted."""
        self._proven = plan.map_max_entries
        self._entries = 2 * self._proven

    def note_dump(self) -> None:
        """A child counts with maps of this size."""
        self._proven = None

    def note_end(self) -> bool:
        """A child has ended; True if that may be for its size, which is taken back for good."""
        if self._proven is None:
            return False
        self._entries = self._limit = self._proven
        self._proven = None
        return True

"""Counters that only grow, in rows of which at most so many are shown.

The rows are those that :class:`nfszbx.rows.Rows` chooses; what belongs to no shown row is added to
the row ``other``. So whatever is added is in exactly one row, and the rows of an interval add up.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, TypeVar

from nfszbx.rows import Rows

REMEMBERED = 4
"""Rows that have been shown and are not any more, for each that may be shown.

Beyond that, the one that was hidden first would begin anew.
"""

_Row = TypeVar("_Row", bound=Hashable)
_Cell = TypeVar("_Cell", bound=Hashable)


@dataclass(frozen=True)
class Tally(Generic[_Cell]):
    """The counters of one row; none that has never counted anything."""

    total: Mapping[_Cell, int]
    """Since the row was first shown."""
    interval: Mapping[_Cell, int]
    """What the last interval has added; nothing is left out."""


@dataclass
class _Growing(Generic[_Cell]):
    total: dict[_Cell, int] = field(default_factory=dict)
    interval: dict[_Cell, int] = field(default_factory=dict)


class Tallies(Generic[_Row, _Cell]):
    """The rows, each with its counters."""

    def __init__(self, other: _Row, max_rows: int, idle_seconds: float) -> None:
        """``other`` takes part in no choice: it is shown as soon as it has counted something."""
        self.other = other
        self._rows = Rows[_Row](max_rows, idle_seconds)
        self._shown: dict[_Row, _Growing[_Cell]] = {}
        self._hidden: dict[_Row, _Growing[_Cell]] = {}
        """Rows that were shown, the first to be hidden first."""

    def limit(self, max_rows: int, idle_seconds: float) -> None:
        """From the next interval on; as in :class:`Rows`."""
        self._rows.limit(max_rows, idle_seconds)

    def begin_interval(
        self, activity: Mapping[_Row, int], end_ns: int, *, is_new_child: bool
    ) -> None:
        """Choose the rows by what happened in the interval that ended then.

        A row that is hidden and shown again later counts on; what came in between is ``other``.
        """
        for tally in self._shown.values():
            tally.interval = {}
        before = self._rows.shown
        ranked = {row: count for row, count in activity.items() if row != self.other}
        self._rows.update(ranked, end_ns, is_new_map=is_new_child)
        for row in before - self._rows.shown:
            if row in self._shown:
                self._hidden[row] = self._shown.pop(row)
        for row in self._rows.shown - before:
            if row in self._hidden:
                self._shown[row] = self._hidden.pop(row)
        excess = len(self._hidden) - REMEMBERED * self._rows.max_rows
        for row in list(islice(self._hidden, max(0, excess))):
            del self._hidden[row]

    def find_row(self, row: _Row) -> _Row:
        """The row itself, or ``other``."""
        return row if row in self._rows.shown else self.other

    def add(self, row: _Row, cell: _Cell, count: int) -> None:
        """To the row, if it is shown, and to the interval that was begun last."""
        row = self.find_row(row)
        tally = self._shown.get(row)
        if tally is None:
            tally = self._shown[row] = _Growing()
        tally.total[cell] = tally.total.get(cell, 0) + count
        tally.interval[cell] = tally.interval.get(cell, 0) + count

    def read(self) -> dict[_Row, Tally[_Cell]]:
        """All rows that are shown, as they are now."""
        return {row: Tally(dict(each.total), each.interval) for row, each in self._shown.items()}

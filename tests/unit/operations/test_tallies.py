"""Rows of counters that come and go."""

from nfszbx.operations.tallies import REMEMBERED, Tallies, Tally

DAY_SECONDS = 86_400.0


def step(tallies: Tallies[str, str], end_ns: int, counts: dict[str, int]) -> dict[str, Tally[str]]:
    tallies.begin_interval(counts, end_ns, is_new_child=end_ns == 1)
    for row, count in counts.items():
        tallies.add(row, "cell", count)
    return tallies.read()


def totals(tallies: Tallies[str, str]) -> dict[str, int]:
    return {row: tally.total["cell"] for row, tally in tallies.read().items()}


def test_row_that_is_hidden_and_shown_again_counts_on() -> None:
    tallies = Tallies[str, str]("other", 1, DAY_SECONDS)
    step(tallies, 1, {"a": 10, "b": 1})
    assert totals(tallies) == {"a": 10, "other": 1}
    step(tallies, 2, {"a": 1, "b": 1000})
    assert totals(tallies) == {"b": 1000, "other": 2}
    rows = step(tallies, 3, {"a": 100_000})
    assert totals(tallies) == {"a": 100_010, "other": 2}
    assert rows["a"].interval == {"cell": 100_000}
    assert rows["other"].interval == {}


def test_what_was_read_does_not_change_any_more() -> None:
    tallies = Tallies[str, str]("other", 1, DAY_SECONDS)
    rows = step(tallies, 1, {"a": 1})
    step(tallies, 2, {"a": 2})
    assert (rows["a"].total, rows["a"].interval) == ({"cell": 1}, {"cell": 1})


def test_single_row_without_labels_is_always_shown() -> None:
    """With all labels off, everything is in one row, which is that of the rest, too."""
    tallies = Tallies[str, str]("", 1, idle_seconds=1)
    step(tallies, 1, {"": 5})
    step(tallies, 10**10, {})
    assert totals(tallies) == {"": 5}


def test_what_is_remembered_is_bounded() -> None:
    tallies = Tallies[str, str]("other", 2, DAY_SECONDS)
    for number in range(100):
        step(tallies, number + 1, {f"{number}": 10**number, f"{number} too": 10**number})
        assert len(tallies._hidden) <= 2 * REMEMBERED  # noqa: SLF001  nobody else's business
        assert len(tallies.read()) <= 2 + 1

"""Which clients have rows, where that does not show in the counters."""

from nfszbx.rows import Rows

DAY_SECONDS = 86_400.0


def test_what_is_known_of_clients_is_bounded_by_the_map_and_the_rows() -> None:
    """However many children there are, and however many clients each of them sees."""
    rows = Rows[str](10, DAY_SECONDS)
    for child in range(100):
        for interval in range(5):
            clients = {f"{child} {interval} {number}": 1 + number for number in range(20)}
            rows.update(clients, child * 10 + interval, is_new_map=interval == 0)
            assert len(rows._active_ns) <= 5 * 20 + 10  # noqa: SLF001  nobody else's business
            assert len(rows.shown) == 10


def test_row_outlasts_the_child_in_which_it_was_earned() -> None:
    rows = Rows[str](1, DAY_SECONDS)
    rows.update({"a": 1000, "b": 999}, 1, is_new_map=True)
    rows.update({"c": 10}, 2, is_new_map=True)
    assert rows.shown == {"a"}

"""What the process with the sinks has not done with: given again, bounded, counted when dropped."""

import pytest

from nfszbx.sinks import waiting as waiting_module
from nfszbx.sinks.waiting import WaitingIntervals


def make(count: int) -> WaitingIntervals:
    waiting = WaitingIntervals()
    for number in range(1, count + 1):
        assert waiting.next_number == number
        waiting.add(100.0 + number, b"12345")
    return waiting


def take_all(waiting: WaitingIntervals) -> list[int]:
    taken = []
    while interval := waiting.take_next():
        taken.append(interval.number)
    return taken


def test_each_is_taken_once_in_order() -> None:
    waiting = make(3)
    assert waiting.unsent == 3
    assert take_all(waiting) == [1, 2, 3]
    assert waiting.unsent == 0
    waiting.add(104.0, b"")
    assert take_all(waiting) == [4]


def test_another_process_gets_what_is_not_done_with() -> None:
    waiting = make(4)
    take_all(waiting)
    waiting.note(handed_on=3, done=2)
    waiting.begin_again()
    assert waiting.unsent == 1  # the other has been handed on, and is not done with
    assert waiting.list_ends() == {3: 103.0, 4: 104.0}
    assert take_all(waiting) == [3, 4]
    assert waiting.count_after(3) == 1


def test_another_process_gets_the_last_one_in_any_case() -> None:
    """Prometheus shows it."""
    waiting = make(4)
    take_all(waiting)
    waiting.note(handed_on=4, done=4)
    waiting.begin_again()
    assert waiting.unsent == 0
    assert take_all(waiting) == [4]


def test_another_process_gets_the_last_operations_in_any_case() -> None:
    """Prometheus shows them until there are new ones; once they are told, they are not again."""
    waiting = make(0)
    for number in range(1, 7):
        waiting.add(100.0 + number, b"", has_operations=number in {2, 4})
    assert take_all(waiting) == [1, 2, 3, 4, 5, 6]
    waiting.note(handed_on=6, done=5)
    assert take_all(waiting) == []
    waiting.begin_again()
    assert waiting.unsent == 0
    assert take_all(waiting) == [4, 6]
    waiting.add(107.0, b"", has_operations=True)
    waiting.note(handed_on=6, done=6)
    waiting.begin_again()
    assert take_all(waiting) == [7]


def test_what_nobody_was_given_counts_as_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_module, "MAX_INTERVALS", 3)
    waiting = make(5)
    assert waiting.dropped == 2
    assert take_all(waiting) == [3, 4, 5]


def test_what_was_handed_on_is_forgotten_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits only for something that is made of several intervals."""
    monkeypatch.setattr(waiting_module, "MAX_INTERVALS", 3)
    waiting = make(3)
    take_all(waiting)
    waiting.note(handed_on=3, done=0)
    waiting.begin_again()  # and nobody takes any more
    for _ in range(5):
        waiting.add(0.0, b"")
    assert waiting.dropped == 2
    assert waiting.unsent == 3


def test_bytes_are_a_bound_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """But the newest one stays, however large."""
    monkeypatch.setattr(waiting_module, "MAX_BYTES", 12)
    waiting = make(4)
    assert take_all(waiting) == [3, 4]
    waiting.add(0.0, bytes(100))
    assert waiting.list_ends() == {5: 0.0}


def test_a_process_cannot_be_done_with_what_it_was_not_given() -> None:
    """Whatever it says: numbers beyond the last one harm none that come later."""
    waiting = make(2)
    waiting.note(handed_on=2**53, done=2**53)
    waiting.add(0.0, b"")
    assert waiting.unsent == 1
    assert take_all(waiting)[-1] == 3
    waiting.begin_again()
    assert waiting.unsent == 1

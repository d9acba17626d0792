"""What the kernel has counted, and what of it we have not."""

from hypothesis import given
from hypothesis import strategies as st

from nfszbx.operations.kernel_counts import (
    Uncounted,
    parse_kernel_bytes,
    parse_kernel_counts,
)

# As nfsd_show of Linux 7.2 prints it.
TEXT = f"""\
rc 0 61 1904
fh 0 0 0 0 0
io 4194304 8388608
th 8 0 0.000 0.000 0.000 0.000 0.000 0.000 0.000 0.000 0.000 0.000
ra 0 0 0 0 0 0 0 0 0 0 0 0
net 1970 0 1970 4
rpc 1965 0 0 0 0
proc3 22 2 11 0 5 3 0 64 128 4 1 0 0 4 1 0 0 1 2 0 2 1 7
proc4 2 2 1727
proc4ops 76 0 0 0 {" ".join(str(number) for number in range(3, 76))}
wdeleg_getattr 0
"""
READ, GETATTR = ("4", "READ"), ("4", "GETATTR")


def test_text_of_the_kernel() -> None:
    counts = parse_kernel_counts(TEXT)
    assert len(counts) == 22 + 73
    assert counts["3", "NULL"] == 2
    assert counts["3", "READ"] == 64
    assert counts["3", "COMMIT"] == 7
    assert counts["4", "ACCESS"] == 3
    assert counts["4", "READ"] == 25
    assert counts["4", "REMOVEXATTR"] == 75


def test_what_cannot_be_understood_is_left_out() -> None:
    text = "proc3 22 1 2\nproc3 x\nproc2 2 5 6\nproc4ops 2 1 2\nproc4ops\n"
    assert parse_kernel_counts(text) == {("2", "NULL"): 5, ("2", "GETATTR"): 6}


@given(st.text() | st.lists(st.sampled_from(TEXT.split(" "))).map(" ".join))
def test_any_text_is_harmless(text: str) -> None:
    assert all(count >= 0 for count in parse_kernel_counts(text).values())
    assert all(count >= 0 for count in parse_kernel_bytes(text).values())


def test_bytes_of_the_kernel() -> None:
    assert parse_kernel_bytes(TEXT) == {"read": 4194304, "write": 8388608}
    for damaged in ("", "io 1\n", "io 1 2 3\n", "io x 2\n", "audio 1 2\n"):
        assert parse_kernel_bytes(damaged) == {}


def test_only_what_is_missing_since_the_first_dump() -> None:
    uncounted = Uncounted[tuple[str, str]]()
    uncounted.advance({READ: 3}, {READ: 1000, GETATTR: 5})
    assert uncounted.counts == {READ: 0, GETATTR: 0}
    uncounted.advance({READ: 13}, {READ: 1017, GETATTR: 5})
    uncounted.advance({READ: 13}, {READ: 1024, GETATTR: 6})
    assert uncounted.counts == {READ: 7, GETATTR: 0}
    uncounted.advance({READ: 20}, {READ: 1024, GETATTR: 6})
    assert uncounted.counts == {READ: 7, GETATTR: 1}


def test_kernel_that_loses_counts_is_no_loss_of_ours() -> None:
    uncounted = Uncounted[str]()
    uncounted.advance({}, {"read": 0})
    for _ in range(2):
        uncounted.advance({"read": 100}, {"read": 90})
    assert uncounted.counts == {"read": 0}


def test_counts_that_begin_anew() -> None:
    """Nfsd was loaded anew, or 32 bits have wrapped; what was missing before stays.

    Nothing comes from the fall.
    """
    uncounted = Uncounted[str]()
    uncounted.advance({}, {"read": 1000})
    for _ in range(2):
        uncounted.advance({"read": 5}, {"read": 1010})
    uncounted.advance({"read": 8}, {"read": 4})
    assert uncounted.counts == {"read": 5}
    for _ in range(2):
        uncounted.advance({"read": 9}, {"read": 8})
    assert uncounted.counts == {"read": 5 + 3}


STEPS = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=20
)


@given(STEPS)
def test_never_too_much_and_never_backwards(steps: list[tuple[int, int, int]]) -> None:
    """However requests fall between the readings of the two sides."""
    uncounted = Uncounted[str]()
    kernel = ours = missed = 0
    first = True
    for seen, lost, late in steps:
        kernel, ours = kernel + seen + lost, ours + seen
        missed += 0 if first else lost
        dumped = ours
        kernel, ours = kernel + late, ours + late  # before its end mark has come
        last = uncounted.counts.get("read", 0)
        uncounted.advance({"read": dumped}, {"read": kernel})
        assert last <= uncounted.counts["read"] <= missed
        first = False
    for _ in range(2):  # at rest all of it shows
        uncounted.advance({"read": ours}, {"read": kernel})
    late_of_first = steps[0][2]
    """What came between the first dump and the kernel's first reading: it hides as much."""
    assert uncounted.counts["read"] == max(0, missed - late_of_first)

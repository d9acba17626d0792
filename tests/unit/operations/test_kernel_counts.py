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


class Told:
    """Advances by a minute at a time, unless told otherwise."""

    def __init__(self) -> None:
        self.uncounted = Uncounted[tuple[str, str]]()
        self.end_ns = 0

    def advance(
        self,
        ours: dict[tuple[str, str], int],
        kernel: dict[tuple[str, str], int],
        seconds: float = 60,
        late_seconds: float = 0.1,
    ) -> dict[tuple[str, str], int]:
        """The kernel's counts are read so long after bpftrace has read ours."""
        self.end_ns += int(seconds * 1e9)
        self.uncounted.advance(ours, self.end_ns, kernel, self.end_ns + int(late_seconds * 1e9))
        return self.uncounted.counts


def test_only_what_is_missing_since_the_first_dump() -> None:
    told = Told()
    assert told.advance({READ: 3}, {READ: 1000, GETATTR: 5}) == {READ: 0, GETATTR: 0}
    told.advance({READ: 13}, {READ: 1017, GETATTR: 5})
    assert told.advance({READ: 13}, {READ: 1024, GETATTR: 6}) == {READ: 7, GETATTR: 0}
    assert told.advance({READ: 20}, {READ: 1024, GETATTR: 6}) == {READ: 7, GETATTR: 1}


def test_request_that_is_under_way_is_not_told() -> None:
    """The kernel counts it as it begins, here at 5 s, and we as it ends, at 55 s."""
    told = Told()
    for seconds in range(0, 200, 5):
        counts = told.advance({READ: int(seconds >= 55)}, {READ: int(seconds >= 5)}, 5)
        assert counts == {READ: 0}


def test_dumps_that_wait_are_not_compared_with_newer_counts() -> None:
    """A busy nfszbx reads dumps when the kernel has counted more already."""
    told = Told()
    told.advance({READ: 0}, {READ: 0}, 2)
    for seconds in range(2, 300, 2):
        counts = told.advance({READ: seconds}, {READ: seconds + 3}, 2, late_seconds=3)
        assert counts == {READ: 0}
    told.advance({READ: 301}, {READ: 306}, 2, late_seconds=3)
    told.advance({READ: 301}, {READ: 306})
    assert told.advance({READ: 301}, {READ: 306}) == {READ: 5}


def test_kernel_that_loses_counts_is_no_loss_of_ours() -> None:
    told = Told()
    told.advance({}, {READ: 0})
    for _ in range(3):
        assert told.advance({READ: 100}, {READ: 90}) == {READ: 0}


def test_counts_that_begin_anew() -> None:
    """Nfsd was loaded anew, or 32 bits have wrapped; what was missing before stays.

    Nothing comes from the fall.
    """
    told = Told()
    told.advance({}, {READ: 1000})
    for _ in range(2):
        told.advance({READ: 5}, {READ: 1010})
    assert told.advance({READ: 8}, {READ: 4}) == {READ: 5}
    for _ in range(2):
        told.advance({READ: 9}, {READ: 8})
    assert told.advance({READ: 9}, {READ: 8}) == {READ: 5 + 3}


STEPS = st.lists(
    st.tuples(
        st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.floats(1, 100), st.floats(0, 9)
    ),
    min_size=1,
    max_size=20,
)


@given(STEPS)
def test_never_too_much_and_never_backwards(
    steps: list[tuple[int, int, int, float, float]],
) -> None:
    """However requests fall between the readings of the two sides."""
    told = Told()
    kernel = ours = missed = last = 0
    for number, (seen, lost, late, seconds, late_seconds) in enumerate(steps):
        kernel, ours = kernel + seen + lost, ours + seen
        missed += lost if number else 0
        dumped = ours
        kernel, ours = kernel + late, ours + late  # before its end mark is read
        counts = told.advance({READ: dumped}, {READ: kernel}, seconds, min(seconds, late_seconds))
        assert last <= counts[READ] <= missed
        last = counts[READ]
    for _ in range(2):  # at rest all of it shows
        told.advance({READ: ours}, {READ: kernel})
    counts = told.advance({READ: ours}, {READ: kernel})
    late_of_first = steps[0][2]
    """What came between the first dump and the kernel's first reading: it hides as much."""
    assert counts[READ] == max(0, missed - late_of_first)

"""Quantiles, against the sorted times themselves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfszbx.operations.quantiles import bound_seconds, find_quantile


def test_bounds() -> None:
    """A time of 0 us is below 1 us; one of 4 to 7 us is below 8 us."""
    assert [bound_seconds(bucket) for bucket in (0, 1, 3, 24)] == [1e-6, 2e-6, 8e-6, 16.777216]


@pytest.mark.parametrize(
    ("buckets", "percent", "seconds"),
    [
        ({3: 1}, 50, 8e-6),
        ({3: 1, 5: 1}, 50, 8e-6),
        ({3: 1, 5: 1}, 51, 32e-6),
        ({0: 95, 10: 5}, 95, 1e-6),
        ({0: 94, 10: 6}, 95, 1024e-6),
        ({0: 99, 20: 1}, 99, 1e-6),
        ({20: 1, 0: 98}, 99, 1.048576),
    ],
)
def test_quantiles(buckets: dict[int, int], percent: int, seconds: float) -> None:
    assert find_quantile(buckets, percent) == seconds


def test_nothing_has_no_quantile() -> None:
    with pytest.raises(ValueError, match="nothing"):
        find_quantile({}, 50)


@given(st.lists(st.integers(0, 2**30), min_size=1), st.sampled_from([50, 95, 99]))
def test_enough_requests_took_less(times_us: list[int], percent: int) -> None:
    buckets: dict[int, int] = {}
    for time in times_us:
        buckets[time.bit_length()] = buckets.get(time.bit_length(), 0) + 1
    found = find_quantile(buckets, percent)
    needed = len(times_us) * percent
    assert sum(time / 1e6 < found for time in times_us) * 100 >= needed
    assert sum(time / 1e6 < found / 2 for time in times_us if time) * 100 < needed

"""Quantiles of times, from the counts of a histogram."""

from collections.abc import Mapping

MICROSECONDS_PER_SECOND = 1_000_000


def bound_seconds(bucket: int) -> float:
    """What all times in a bucket of ``hist(microseconds)`` are below.

    Bucket 0 is for less than one microsecond, bucket n for less than 2^n and at least half of it.
    """
    return float(2**bucket) / MICROSECONDS_PER_SECOND


def find_quantile(buckets: Mapping[int, int], percent: int) -> float:
    """What so many of 100 requests took less than, in seconds: the bound of their bucket.

    ``buckets`` are not empty.
    """
    # In whole numbers: a share as a float would be a little off, and one bucket is a factor of two.
    needed = -(-sum(buckets.values()) * percent // 100)
    seen = 0
    for bucket in sorted(buckets):
        seen += buckets[bucket]
        if seen >= needed:
            return bound_seconds(bucket)
    raise ValueError("a quantile of nothing")

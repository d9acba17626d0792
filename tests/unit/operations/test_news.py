"""What waits to be taken is the newest, and loses no rates to what has none."""

from nfszbx import catalog_operations as catalog
from nfszbx.operations.news import News
from nfszbx.samples import Sample

ROW = ("3", "READ", "", "", "")
UP = Sample(catalog.OPERATIONS_UP, (), 1)
DOWN = Sample(catalog.OPERATIONS_UP, (), 0)
BUSY = Sample(catalog.BUSY_THREADS, (), 0.5)


def rate(value: float) -> Sample:
    return Sample(catalog.OPERATION_RATE, ROW, value)


def count(value: int) -> Sample:
    return Sample(catalog.OPERATIONS, ROW, value)


def test_rates_stay_when_only_counters_and_the_state_are_newer() -> None:
    news = News()
    news.put((UP, count(1), rate(7), BUSY))
    news.put((UP, count(2)))
    news.put((DOWN, count(2)))
    assert news.take() == (DOWN, count(2), rate(7), BUSY)
    assert news.take() is None


def test_rates_that_were_taken_are_not_told_again() -> None:
    news = News()
    news.put((UP, rate(7)))
    news.take()
    news.put((DOWN,))
    assert news.take() == (DOWN,)


def test_newer_rates_are_of_another_interval() -> None:
    news = News()
    news.put((UP, rate(7), Sample(catalog.REQUEST_P50, ("3", "READ", ""), 1.0)))
    news.put((UP, rate(8)))
    assert news.take() == (UP, rate(8))


def test_end_of_all_leaves_nothing() -> None:
    news = News()
    news.put((UP, rate(7)))
    news.put(())
    assert news.take() == ()
    news.put((UP,))
    assert news.take() == (UP,)

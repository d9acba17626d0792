"""Helpers of the spool's tests: two consumers, and entries that are known by their second."""

from pathlib import Path

from nfszbx.spool import Spool, SpoolLimits
from nfszbx.spool_store import Entry

SECOND_NS = 1_000_000_000
LIMITS = SpoolLimits(max_bytes=1_000_000, max_age_seconds=86_400, replay_seconds=300)
FIRST, SECOND = "first", "second"


def make_entry(number: int, text: str = "") -> Entry:
    return Entry("totals", number * SECOND_NS, text or f"value {number}")


def open_spool(path: Path, limits: SpoolLimits = LIMITS) -> Spool:
    return Spool(path / "spool.sqlite3", (FIRST, SECOND), limits)


def list_waiting(spool: Spool, consumer: str = FIRST) -> list[int]:
    """The seconds of the entries."""
    return [w.entry.unix_ns // SECOND_NS for w in spool.find_waiting(consumer, 1000)]


def take(spool: Spool, *seconds: int, consumer: str = FIRST) -> None:
    waiting = spool.find_waiting(consumer, 1000)
    spool.note_taken(consumer, [w.id for w in waiting if w.entry.unix_ns // SECOND_NS in seconds])

"""Keeps what sinks have still to deliver until every consumer has it for certain.

Entries are written to disk before they are sent. A consumer is one server that wants every entry.
What it has taken is kept for some minutes more, since it may lose that in a crash, and can be put
back. All is bounded by bytes and by age, and what is dropped is counted. When the disk fails,
entries wait in memory, and the disk is tried again once a minute: the measuring goes on.
"""

import functools
import logging
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from nfszbx.clock import monotonic_seconds
from nfszbx.spool_store import Entry, SpoolStore, Waiting
from nfszbx.state import set_aside

RETRY_DISK_SECONDS = 60.0
TIDY_SECONDS = 30.0
"""Between two looks for what is too old, or was taken for long."""
MEMORY_BYTES = 64_000_000
"""The bound on what waits in memory while the disk fails, if that of the disk is not smaller."""
KEPT_OF_FULL = 0.95

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class SpoolLimits:
    """What a spool may hold."""

    max_bytes: int
    """Of compressed entries."""
    max_age_seconds: float
    """Of running time: what the clock on the wall does meanwhile does not make anything old."""
    replay_seconds: float
    """How long an entry that was taken can be put back."""


class Spool:
    """May be used from any thread; no method waits for more than the disk."""

    def __init__(self, path: Path, consumers: Sequence[str], limits: SpoolLimits) -> None:
        self._path = path
        self._consumers = tuple(consumers)
        self._limits = limits
        self._lock = threading.Lock()
        self._dropped: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()
        self._bytes = 0
        """Of the entries, at least; tidying up counts them."""
        self._last_id = 0
        self._begin_seconds = monotonic_seconds()
        """When running second 0 was, on the monotonic clock."""
        self._tidy_at = self._retry_at = 0.0
        self._problem = ""
        self._is_closed = False
        self._store = SpoolStore()
        self.is_on_disk = False
        with self._lock:
            self._try_disk()

    def append(self, entries: Sequence[Entry]) -> None:
        """Keep the entries for every consumer."""
        if not entries:
            return
        with self._lock:
            if self._is_closed:
                return
            if not self.is_on_disk and monotonic_seconds() >= self._retry_at:
                self._try_disk()
            self._last_id = self._do(lambda store: store.add(entries, self._consumers))
            self._waiting.update(dict.fromkeys(self._consumers, len(entries)))
            self._bytes += sum(len(entry.text) for entry in entries)
            if monotonic_seconds() >= self._tidy_at or self._bytes > self._max_bytes:
                self._do(self._tidy)

    def find_waiting(
        self,
        consumer: str,
        limit: int,
        *,
        after_id: int = 0,
        newest: bool = False,
        without_topics: Iterable[str] = (),
    ) -> list[Waiting]:
        """The first entries that the consumer waits for, those that it has had before last.

        Or the newest ones, in order.
        """
        find = functools.partial(
            SpoolStore.find_waiting,
            consumer=consumer,
            limit=limit,
            after_id=after_id,
            newest=newest,
            without_topics=tuple(without_topics),
        )
        with self._lock:
            if self._is_closed:
                return []
            found, unreadable = self._do(find)
            if unreadable:
                _log.warning("spool %s: %d values are damaged", self._path, len(unreadable))
                self._note_dropped(self._do(lambda store: store.delete(unreadable)))
            return found

    def note_taken(self, consumer: str, ids: Iterable[int]) -> None:
        """The consumer has taken the entries."""
        taken = list(ids)
        with self._lock:
            if not self._is_closed:
                now = self._running_seconds()
                count = self._do(lambda store: store.note_taken(consumer, taken, now))
                self._waiting[consumer] -= count

    def put_back(self, consumer: str) -> int:
        """Let the consumer wait again for what it has taken lately; how many entries."""
        with self._lock:
            if self._is_closed:
                return 0
            seconds = self._limits.replay_seconds
            count = self._do(lambda store: store.put_back(consumer, seconds))
            self._waiting[consumer] += count
            return count

    def count_waiting(self, consumer: str) -> int:
        """The entries that the consumer has not taken. Does not wait for the disk."""
        return self._waiting[consumer]

    def count_dropped(self, consumer: str) -> int:
        """The entries, since the start, that were dropped before the consumer took them.

        Does not wait for the disk.
        """
        return self._dropped[consumer]

    def close(self, timeout_seconds: float = 5.0) -> None:
        """The last call that does anything; a disk that hangs is not waited for."""
        if not self._lock.acquire(timeout=timeout_seconds):
            return
        try:
            if not self.is_on_disk:
                self._try_disk()
            self._is_closed = True
            self._store.close()
        finally:
            self._lock.release()

    def _do(self, action: Callable[[SpoolStore], _Result]) -> _Result:
        """Do it on disk, or else in memory, which does not fail."""
        try:
            return action(self._store)
        except sqlite3.Error as error:
            if not self.is_on_disk:
                raise
            self._leave_disk(error)
            return action(self._store)

    @property
    def _max_bytes(self) -> int:
        return (
            self._limits.max_bytes if self.is_on_disk else min(self._limits.max_bytes, MEMORY_BYTES)
        )

    def _running_seconds(self) -> float:
        return monotonic_seconds() - self._begin_seconds

    def _tidy(self, store: SpoolStore) -> None:
        self._tidy_at = monotonic_seconds() + TIDY_SECONDS
        now = self._running_seconds()
        store.note_age(now)
        store.forget_taken(now - self._limits.replay_seconds)
        is_full = store.count_bytes() > self._max_bytes
        # Some room as well: looking for what to drop takes time, and is not for every entry.
        max_bytes = int(self._max_bytes * KEPT_OF_FULL) if is_full else self._max_bytes
        self._note_dropped(store.drop_oldest(max_bytes, now - self._limits.max_age_seconds))
        self._bytes = store.count_bytes()

    def _note_dropped(self, dropped: Counter[str]) -> None:
        self._dropped += dropped
        self._waiting.subtract(dropped)

    def _try_disk(self) -> None:
        """Open the file, and bring there what has waited in memory."""
        memory = self._store
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            store = self._open()
            if gone := store.keep_consumers(self._consumers):
                _log.warning("%d values waited for servers that are not set any more", gone)
            behind = max(0.0, store.find_last_seconds() - self._running_seconds())
            for consumer in self._consumers:  # nobody knows what became of what was taken
                store.put_back(consumer, self._limits.replay_seconds)
            store.begin_above(self._last_id)
            store.add_all_of(memory, behind)
        except (sqlite3.Error, OSError) as error:
            self._note_problem(error)
            return
        memory.close()
        self._begin_seconds -= behind
        self._use(store, is_on_disk=True)
        if self._problem:
            _log.info("state_directory: %s works again", self._path.parent)
            self._problem = ""

    def _use(self, store: SpoolStore, *, is_on_disk: bool) -> None:
        self._store, self.is_on_disk = store, is_on_disk
        self._waiting = Counter[str](dict(store.count_waiting()))
        self._bytes = store.count_bytes()

    def _open(self) -> SpoolStore:
        """Open the file; one that is damaged is set aside for whoever wants to look at it."""
        try:
            return SpoolStore(self._path)
        except sqlite3.OperationalError:  # full, locked, not permitted: nothing is wrong with it
            raise
        except sqlite3.DatabaseError as error:
            aside = set_aside(self._path)
            _log.warning("spool %s: %s; begun anew, the old one is %s", self._path, error, aside)
            return SpoolStore(self._path)

    def _leave_disk(self, error: sqlite3.Error) -> None:
        with suppress(sqlite3.Error):
            self._store.close()
        store = SpoolStore()
        store.begin_above(self._last_id)
        self._use(store, is_on_disk=False)
        self._note_problem(error)

    def _note_problem(self, error: Exception) -> None:
        self._retry_at = monotonic_seconds() + RETRY_DISK_SECONDS
        if str(error) != self._problem:
            self._problem = str(error)
            _log.warning(
                "state_directory: %s cannot be used: %s; values wait in memory until it can, and a "
                "restart loses them",
                self._path.parent,
                error,
            )

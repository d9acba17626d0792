"""One SQLite database of entries and of who still waits for them; each method is a transaction.

On disk in WAL mode with synchronous=FULL: what a method has done survives a crash of the machine.
Methods raise ``sqlite3.Error`` when the disk is full or fails, or the file is damaged.

Times here are running seconds: for how long the spool has been open, in all its runs. The clock on
the wall may jump, and what waits must neither grow old by that nor stay for ever.
"""

import json
import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_SCHEMA_VERSION = 2
_AGES = """\
CREATE TABLE ages (
  entry INTEGER PRIMARY KEY,
  seconds REAL NOT NULL
);
"""
_SCHEMA = f"""\
BEGIN;
CREATE TABLE entries (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  topic TEXT NOT NULL,
  unix_ns INTEGER NOT NULL,
  text BLOB NOT NULL
);
CREATE TABLE deliveries (
  consumer TEXT NOT NULL,
  entry INTEGER NOT NULL,
  taken_seconds REAL,
  is_again INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (consumer, entry)
) WITHOUT ROWID;
CREATE INDEX deliveries_by_entry ON deliveries (entry);
CREATE INDEX waiting ON deliveries (consumer, is_again, entry) WHERE taken_seconds IS NULL;
{_AGES}
PRAGMA user_version = {_SCHEMA_VERSION};
COMMIT;
"""
# Version 1 had the time of the wall; what was taken last counts as taken just before the begin.
_MIGRATE = f"""\
BEGIN;
ALTER TABLE deliveries RENAME COLUMN taken_unix_seconds TO taken_seconds;
UPDATE deliveries SET taken_seconds = taken_seconds - (SELECT MAX(taken_seconds) FROM deliveries);
{_AGES}
PRAGMA user_version = {_SCHEMA_VERSION};
COMMIT;
"""  # noqa: S608  nothing but constants
_FIND_OLDEST = """\
SELECT id, topic, unix_ns, text FROM deliveries JOIN entries ON id = entry
WHERE consumer = ? AND taken_seconds IS NULL AND entry > ?
AND topic NOT IN (SELECT value FROM json_each(?)) ORDER BY is_again, entry LIMIT ?
"""
_FIND_NEWEST = _FIND_OLDEST.replace("ORDER BY is_again, entry", "ORDER BY entry DESC")
_WITHOUT_CONSUMER = "DELETE FROM entries WHERE id NOT IN (SELECT entry FROM deliveries)"


@dataclass(frozen=True)
class Entry:
    """Something to deliver."""

    topic: str
    """What it is: a sink's own name for it, such as the key of an item."""
    unix_ns: int
    """When it was measured."""
    text: str


@dataclass(frozen=True)
class Waiting:
    """An entry that a consumer has not taken yet; ``id`` grows with each entry."""

    id: int
    entry: Entry


class SpoolStore:
    """A database in a file, or in memory when there is no path. Belongs to one thread at a time."""

    def __init__(self, path: Path | None = None) -> None:
        """Open it, and lock it: raises ``sqlite3.OperationalError`` when another process has it."""
        self.path = path
        name = ":memory:" if path is None else str(path)
        self._database = sqlite3.connect(
            name, timeout=0.0, isolation_level=None, check_same_thread=False
        )
        try:
            self._prepare()
        except BaseException:
            self._database.close()
            raise

    def _prepare(self) -> None:
        for setting in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"):
            self._database.execute(f"PRAGMA {setting}")
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._database.executescript(_SCHEMA)
            self._database.execute("INSERT INTO sqlite_sequence VALUES ('entries', 0)")
        elif version == 1:
            self._database.executescript(_MIGRATE)
        elif version != _SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"version {version} of its tables is not known")
        (verdict,) = self._database.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(f"damaged: {verdict}")

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def begin_above(self, last_id: int) -> None:
        """Let ids go on from that of another store: one cannot be taken for another then."""
        self._database.execute(
            "UPDATE sqlite_sequence SET seq = MAX(seq, ?) WHERE name = 'entries'", (last_id,)
        )

    def add(self, entries: Iterable[Entry], consumers: Sequence[str]) -> int:
        """Let every consumer wait for the entries; the id of the last one."""
        last_id = 0
        with self._transaction():
            for entry in entries:
                row = (entry.topic, entry.unix_ns, zlib.compress(entry.text.encode()))
                last_id = self._insert(row)
                self._database.executemany(
                    "INSERT INTO deliveries (consumer, entry) VALUES (?, ?)",
                    [(consumer, last_id) for consumer in consumers],
                )
        return last_id

    def add_all_of(self, other: "SpoolStore", shift_seconds: float) -> None:
        """Take over another store's entries, with who has taken them and who waits.

        The other's time is so many running seconds behind.
        """
        read = other._database.execute  # noqa: SLF001  of the same class
        with self._transaction():
            for old_id, *row in read("SELECT id, topic, unix_ns, text FROM entries ORDER BY id"):
                new_id = self._insert(row)
                deliveries = other._database.execute(  # noqa: SLF001
                    "SELECT consumer, taken_seconds + ?, is_again FROM deliveries WHERE entry = ?",
                    (shift_seconds, old_id),
                )
                self._database.executemany(
                    "INSERT INTO deliveries VALUES (?, ?, ?, ?)",
                    [(consumer, new_id, *rest) for consumer, *rest in deliveries],
                )

    def _insert(self, row: Sequence[object]) -> int:
        cursor = self._database.execute(
            "INSERT INTO entries (topic, unix_ns, text) VALUES (?, ?, ?)", row
        )
        return int(cursor.lastrowid or 0)

    def find_waiting(
        self,
        consumer: str,
        limit: int,
        *,
        after_id: int = 0,
        newest: bool = False,
        without_topics: Iterable[str] = (),
    ) -> tuple[list[Waiting], list[int]]:
        """What the consumer waits for, and the ids of what cannot be read any more.

        The first entries, those that it has had before last; or the newest ones, in order.
        """
        query = _FIND_NEWEST if newest else _FIND_OLDEST
        rows = self._database.execute(
            query, (consumer, after_id, json.dumps(list(without_topics)), limit)
        ).fetchall()
        found, unreadable = [], []
        for number, topic, unix_ns, text in reversed(rows) if newest else rows:
            try:
                plain = zlib.decompress(text).decode()
            except (zlib.error, UnicodeDecodeError):
                unreadable.append(number)
            else:
                found.append(Waiting(number, Entry(topic, unix_ns, plain)))
        return found, unreadable

    def delete(self, ids: Iterable[int]) -> Counter[str]:
        """Delete entries. By consumer: how many it still waited for."""
        dropped: Counter[str] = Counter()
        with self._transaction():
            for number in ids:
                dropped += self._delete("entry = ?", "id = ?", number)
        return dropped

    def note_taken(self, consumer: str, ids: Iterable[int], seconds: float) -> int:
        """The consumer has taken the entries; how many of them it waited for."""
        with self._transaction():
            return self._database.executemany(
                "UPDATE deliveries SET taken_seconds = ? "
                "WHERE consumer = ? AND entry = ? AND taken_seconds IS NULL",
                [(seconds, consumer, number) for number in ids],
            ).rowcount

    def put_back(self, consumer: str, seconds: float) -> int:
        """Let the consumer wait again for what it took last, and in so many seconds before.

        How many entries.
        """
        with self._transaction():
            return self._database.execute(
                "UPDATE deliveries SET taken_seconds = NULL, is_again = 1 "
                "WHERE consumer = ? AND taken_seconds >= -? + ("
                "SELECT MAX(taken_seconds) FROM deliveries WHERE consumer = ?)",
                (consumer, seconds, consumer),
            ).rowcount

    def forget_taken(self, before_seconds: float) -> None:
        """Delete what all its consumers have taken before then."""
        with self._transaction():
            self._database.execute(
                "DELETE FROM deliveries WHERE taken_seconds < ?", (before_seconds,)
            )
            self._database.execute(_WITHOUT_CONSUMER)

    def keep_consumers(self, consumers: Sequence[str]) -> int:
        """Delete what only others wait for; how many entries.

        A consumer of a new name is sent what those that are gone have waited for: it may be one of
        them under another name.
        """
        known = {name for (name,) in self._database.execute("SELECT consumer FROM deliveries")}
        gone, new = known.difference(consumers), set(consumers) - known
        with self._transaction():
            for name in new:
                self._database.executemany(
                    "INSERT OR IGNORE INTO deliveries (consumer, entry) SELECT ?, entry "
                    "FROM deliveries WHERE consumer = ? AND taken_seconds IS NULL",
                    [(name, other) for other in gone],
                )
            self._database.executemany(
                "DELETE FROM deliveries WHERE consumer = ?", [(name,) for name in gone]
            )
            return self._database.execute(_WITHOUT_CONSUMER).rowcount

    def find_last_seconds(self) -> float:
        """The latest running second that anything tells of."""
        (seconds,) = self._database.execute(
            "SELECT MAX(COALESCE((SELECT MAX(seconds) FROM ages), 0), "
            "COALESCE((SELECT MAX(taken_seconds) FROM deliveries), 0))"
        ).fetchone()
        return float(seconds)

    def note_age(self, seconds: float) -> None:
        """Everything that is here was here at that running second."""
        with self._transaction():
            self._database.execute(
                "INSERT OR IGNORE INTO ages SELECT MAX(id), ? FROM entries HAVING MAX(id) > 0",
                (seconds,),
            )

    def drop_oldest(self, max_bytes: int, before_seconds: float) -> Counter[str]:
        """Delete entries that were here before then, and the oldest until the rest is small enough.

        By consumer: how many it still waited for.
        """
        with self._transaction():
            (last_old,) = self._database.execute(
                "SELECT COALESCE(MAX(entry), 0) FROM ages WHERE seconds < ?", (before_seconds,)
            ).fetchone()
            dropped = self._delete("entry <= ?", "id <= ?", last_old)
            self._database.execute("DELETE FROM ages WHERE entry < ?", (last_old,))
            size = 0
            rows = self._database.execute(
                "SELECT id, LENGTH(text) FROM entries ORDER BY id DESC"
            ).fetchall()
            for number, length in rows:
                size += length
                if size > max_bytes:
                    return dropped + self._delete("entry <= ?", "id <= ?", number)
        return dropped

    def count_bytes(self) -> int:
        """Of all entries, compressed."""
        (size,) = self._database.execute(
            "SELECT COALESCE(SUM(LENGTH(text)), 0) FROM entries"
        ).fetchone()
        return int(size)

    def _delete(self, deliveries: str, entries: str, value: int) -> Counter[str]:
        """By two conditions that select the same; inside a transaction."""
        dropped = self._database.execute(
            "SELECT consumer, COUNT(*) FROM deliveries "  # noqa: S608
            f"WHERE {deliveries} AND taken_seconds IS NULL GROUP BY consumer",
            (value,),
        ).fetchall()
        self._database.execute(f"DELETE FROM deliveries WHERE {deliveries}", (value,))  # noqa: S608
        self._database.execute(f"DELETE FROM entries WHERE {entries}", (value,))  # noqa: S608
        return Counter[str](dict(dropped))

    def count_waiting(self) -> Mapping[str, int]:
        """By consumer; those that wait for nothing are missing."""
        return dict(
            self._database.execute(
                "SELECT consumer, COUNT(*) FROM deliveries "
                "WHERE taken_seconds IS NULL GROUP BY consumer"
            ).fetchall()
        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:  # a full disk has ended it already
                self._database.execute("ROLLBACK")
            raise

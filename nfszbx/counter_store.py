"""Keeps the counters on disk, so that they go on where an earlier run of nfszbx has left off.

Only within one boot of the machine: the file is for a process that ends, however it ends. A file
from before the boot is begun anew, so what a power failure does to it is of no interest.
"""

import logging
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

from nfszbx import catalog
from nfszbx.counters import MAX_REMEMBERED, SavedCounters
from nfszbx.errors import SinkRefusedError
from nfszbx.metric import Metric
from nfszbx.samples import Samples
from nfszbx.state import set_aside
from nfszbx.traffic import Direction, Service, Slot, Transport

_ALL = ""
"""Stands for the client where a counter is that of all of them."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS boot (id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS counters (
  service TEXT NOT NULL, transport TEXT NOT NULL, direction TEXT NOT NULL, client TEXT NOT NULL,
  bytes INTEGER NOT NULL, changed_unix_seconds REAL NOT NULL,
  PRIMARY KEY (service, transport, direction, client)
) WITHOUT ROWID;
"""
_READ = """\
SELECT service, transport, direction, client, bytes FROM counters
ORDER BY changed_unix_seconds
"""
_FORGET = """\
DELETE FROM counters WHERE client <> '' AND changed_unix_seconds < (
  SELECT changed_unix_seconds FROM counters
  ORDER BY changed_unix_seconds DESC LIMIT 1 OFFSET ?
)
"""
_SAVE = "INSERT OR REPLACE INTO counters VALUES (?, ?, ?, ?, ?, ?)"
_DIRECTIONS: Mapping[Metric, Direction] = {
    catalog.RECEIVE_BYTES: Direction.RECEIVE,
    catalog.TRANSMIT_BYTES: Direction.TRANSMIT,
    catalog.CLIENT_RECEIVE_BYTES: Direction.RECEIVE,
    catalog.CLIENT_TRANSMIT_BYTES: Direction.TRANSMIT,
}

_log = logging.getLogger(__name__)

_Key = tuple[str, str, str, str]


class CounterStore:
    """A sink for the counters that have changed. Belongs to one thread after it was opened."""

    name = "counters"

    def __init__(self, path: Path, boot_id: str) -> None:
        """Open the file; one that is damaged is set aside for whoever wants to look at it."""
        self._path = path
        self._boot_id = boot_id
        self._kept: dict[_Key, float] = {}
        """What the file has, of what was delivered last."""
        self._rows = 0
        """How many the file has at most."""
        self._is_begun = False
        """The file is of this boot, and of this run or one that it continues."""
        self._connection: sqlite3.Connection | None = None
        self.saved: SavedCounters | None = None
        """What an earlier run has counted in this boot of the machine."""
        self.saved_unix_seconds = 0.0
        """The end of the last interval in which any of it has changed; 0 when there is none."""
        try:
            self._connection = self._open()
            self.saved = self._read(self._connection)
            self._rows = len(self.saved.rows) if self.saved else 0
            self._is_begun = self.saved is not None
        except sqlite3.OperationalError:  # full, not permitted: the first delivery tells
            self.close()
        except sqlite3.DatabaseError as error:
            self.close()
            _log.warning("%s is damaged, counters begin at zero: %s", self._path, error)
            try:
                _log.warning("it is set aside as %s", set_aside(self._path))
            except OSError as failure:  # then nothing is kept, but everything is counted
                _log.warning("it cannot be set aside: %s", failure.strerror)

    def deliver(self, samples: Samples) -> None:
        """Write down the counters that have changed. Raises :class:`SinkRefusedError`."""
        now = samples.unix_seconds
        counters = dict(_list_counters(samples))
        rows = self._rows + len(counters.keys() - self._kept.keys())
        is_long = rows > len(counters) + MAX_REMEMBERED
        fewer_rows = len(counters) + MAX_REMEMBERED // 2
        # Before the oldest are forgotten, all that are shown are made new.
        kept = {} if is_long else self._kept
        changed = [(*key, n, now) for key, n in counters.items() if kept.get(key) != n]
        try:
            if self._connection is None:
                self._connection = self._open()
            with self._connection as transaction:
                if not self._is_begun:
                    transaction.execute("DELETE FROM boot")
                    transaction.execute("DELETE FROM counters")
                    transaction.execute("INSERT INTO boot VALUES (?)", (self._boot_id,))
                transaction.executemany(_SAVE, changed)
                if is_long:
                    transaction.execute(_FORGET, (fewer_rows,))
        except sqlite3.Error as error:
            raise SinkRefusedError(
                f"counters are not kept: {self._path} cannot be written: {error}"
            ) from None
        self._is_begun = True
        self._kept = counters
        self._rows = fewer_rows if is_long else rows

    def close(self) -> None:
        """The last call."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=0, check_same_thread=False)
        try:
            # Safe against the end of this process, which is all that the file is for.
            for setting in ("journal_mode = WAL", "synchronous = OFF"):
                connection.execute(f"PRAGMA {setting}")
            connection.executescript(_SCHEMA)
        except BaseException:
            connection.close()
            raise
        return connection

    def _read(self, connection: sqlite3.Connection) -> SavedCounters | None:
        """None when there is nothing, or it is of another boot. Raises ``sqlite3.Error``."""
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        if connection.execute("SELECT id FROM boot").fetchone() != (self._boot_id,):
            return None
        totals: dict[Slot, int] = {}
        rows: dict[tuple[Slot, str], int] = {}
        for service, transport, direction, client, count in connection.execute(_READ):
            try:
                slot = Slot(Service(service), Direction(direction), Transport(transport))
            except ValueError as error:
                raise sqlite3.DatabaseError(str(error)) from None
            if client == _ALL:
                totals[slot] = count
            else:
                rows[slot, client] = count
        (last,) = connection.execute("SELECT MAX(changed_unix_seconds) FROM counters").fetchone()
        self.saved_unix_seconds = last or 0.0
        return SavedCounters(totals, rows)


def _list_counters(samples: Samples) -> Iterator[tuple[_Key, float]]:
    for sample in samples.samples:
        if direction := _DIRECTIONS.get(sample.metric):
            service, transport, *client = sample.labels
            yield (service, transport, direction, client[0] if client else _ALL), sample.value


def read_boot_id() -> str:
    """Of the machine, by the kernel; empty where it does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""

"""What waits outlives a process that is killed, and a disk that is full or damaged."""

import logging
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from nfszbx import spool as spool_module
from nfszbx.spool import Spool
from nfszbx.spool_store import Entry, SpoolStore
from tests.spooling import (
    FIRST,
    SECOND,
    SECOND_NS,
    list_waiting,
    make_entry,
    open_spool,
    take,
)


def is_on_disk(spool: Spool) -> bool:
    return spool.is_on_disk


def test_survives_the_end_of_the_process(tmp_path: Path) -> None:
    """SIGKILL right after the append."""
    program = (
        "import os, signal; from pathlib import Path; from tests.spooling import *;"
        f"open_spool(Path({str(tmp_path)!r})).append([make_entry(7)]);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", program], check=False)
    spool = open_spool(tmp_path)
    assert list_waiting(spool) == list_waiting(spool, SECOND) == [7]
    spool.close()


def test_damaged_value_is_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = open_spool(tmp_path)
    spool.append([make_entry(number) for number in range(3)])
    spool.close()
    database = sqlite3.connect(tmp_path / "spool.sqlite3")
    database.execute("UPDATE entries SET text = x'00ff' WHERE unix_ns = ?", (SECOND_NS,))
    database.commit()
    database.close()
    spool = open_spool(tmp_path)
    assert list_waiting(spool) == list_waiting(spool, SECOND) == [0, 2]
    assert (spool.count_waiting(FIRST), spool.count_dropped(FIRST)) == (2, 1)
    assert "1 values are damaged" in caplog.text
    spool.close()


def test_ids_grow_from_store_to_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What came last has the highest id, whether the disk worked or not."""
    spool = open_spool(tmp_path)
    spool.append([make_entry(1)])
    add = SpoolStore.add

    def fail(store: SpoolStore, entries: list[Entry], consumers: list[str]) -> int:
        if store.path is not None:
            raise sqlite3.OperationalError("disk I/O error")
        return add(store, entries, consumers)

    with monkeypatch.context() as patch:
        patch.setattr(SpoolStore, "add", fail)
        spool.append([make_entry(2)])
        (second,) = spool.find_waiting(FIRST, 9)
        take(spool, 2)
    monkeypatch.setattr(spool, "_retry_at", 0.0)
    spool.append([make_entry(3)])
    assert is_on_disk(spool)
    assert list_waiting(spool) == [1, 3]
    assert spool.put_back(FIRST) == 1  # what was taken meanwhile is known as well
    newest = spool.find_waiting(FIRST, 1, newest=True, after_id=second.id)
    assert [w.entry for w in newest] == [make_entry(3)]
    spool.close()


@pytest.mark.parametrize("damage", ["no database", "malformed", "other version"])
def test_damaged_file_is_set_aside(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "spool.sqlite3"
    spool = open_spool(tmp_path)
    spool.append([make_entry(number, os.urandom(3000).hex()) for number in range(50)])
    spool.close()
    if damage == "no database":
        path.write_bytes(b"something else" * 1000)
    elif damage == "malformed":
        content = bytearray(path.read_bytes())
        content[4096 : len(content) // 2] = os.urandom(len(content) // 2 - 4096)
        path.write_bytes(content)
    else:
        database = sqlite3.connect(path)
        database.execute("PRAGMA user_version = 99")
        database.close()
    spool = open_spool(tmp_path)
    assert spool.is_on_disk
    assert "begun anew" in caplog.text
    assert path.with_name("spool.sqlite3.damaged").exists()
    spool.append([make_entry(1)])
    assert list_waiting(spool) == [1]
    spool.close()


def test_full_disk_does_not_stop_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What comes meanwhile waits in memory and goes to the disk when it can be written again."""
    caplog.set_level(logging.INFO)
    spool = open_spool(tmp_path)
    spool.append([make_entry(1)])
    is_full = True
    add = SpoolStore.add

    def add_or_fail(store: SpoolStore, entries: list[Entry], consumers: list[str]) -> int:
        if is_full and store.path is not None:
            raise sqlite3.OperationalError("database or disk is full")
        return add(store, entries, consumers)

    monkeypatch.setattr(SpoolStore, "add", add_or_fail)
    spool.append([make_entry(2)])
    assert is_on_disk(spool) is False
    assert "disk is full; values wait in memory" in caplog.text
    spool.append([make_entry(3)])
    take(spool, 2)
    assert list_waiting(spool) == [3]
    is_full = False
    monkeypatch.setattr(spool_module, "RETRY_DISK_SECONDS", 0.0)
    monkeypatch.setattr(spool, "_retry_at", 0.0)
    spool.append([make_entry(4)])
    assert is_on_disk(spool) is True
    assert "works again" in caplog.text
    assert list_waiting(spool) == [1, 3, 4]
    assert list_waiting(spool, SECOND) == [1, 2, 3, 4]
    spool.close()


def test_second_process_waits_in_memory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool, other = open_spool(tmp_path), open_spool(tmp_path)
    assert (spool.is_on_disk, other.is_on_disk) == (True, False)
    assert "database is locked" in caplog.text
    other.append([make_entry(1)])
    assert (list_waiting(spool), list_waiting(other)) == ([], [1])
    spool.close()
    other.close()

"""The folder of the sinks' user: with what earlier versions have kept, and no link followed."""

import os
from pathlib import Path

import pytest

from nfszbx.privileges import Account
from nfszbx.sinks.folder import prepare_folder

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
USER = Account("somebody", 54321, 54322)
OTHER = Account("another", 54323, 54324)


def read_owner(path: Path) -> tuple[int, int, int]:
    found = path.lstat()
    return found.st_uid, found.st_gid, found.st_mode & 0o777


def test_new_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    for name in ("counters.sqlite3", "counters.sqlite3-wal", "of others"):
        (tmp_path / name).touch(0o644)
    prepare_folder(tmp_path, USER)
    assert read_owner(tmp_path / "sinks") == (USER.uid, USER.gid, 0o700)
    assert read_owner(tmp_path) == (0, 0, 0o711)
    assert read_owner(tmp_path / "counters.sqlite3") == (0, 0, 0o600)
    assert read_owner(tmp_path / "counters.sqlite3-wal") == (0, 0, 0o600)
    assert read_owner(tmp_path / "of others") == (0, 0, 0o644)


def test_files_of_an_earlier_version_are_moved_and_nothing_else(tmp_path: Path) -> None:
    moved = ["spool.sqlite3", "spool.sqlite3-wal", "clients.json", "zabbix_clients.sqlite3"]
    for name in (*moved, "counters.sqlite3"):
        (tmp_path / name).write_text(name)
    prepare_folder(tmp_path, USER)
    for name in moved:
        path = tmp_path / "sinks" / name
        assert path.read_text() == name
        assert read_owner(path) == (USER.uid, USER.gid, 0o600)
        assert not (tmp_path / name).exists()
    assert read_owner(tmp_path / "counters.sqlite3")[0] == 0


def test_folder_goes_to_another_user(tmp_path: Path) -> None:
    """As when the user nfszbx is made after nobody had it."""
    prepare_folder(tmp_path, USER)
    kept = tmp_path / "sinks/spool.sqlite3"
    kept.write_text("values")
    os.chown(kept, USER.uid, USER.gid)
    prepare_folder(tmp_path, OTHER)
    assert read_owner(tmp_path / "sinks") == (OTHER.uid, OTHER.gid, 0o700)
    assert read_owner(kept) == (OTHER.uid, OTHER.gid, 0o600)


def test_nothing_beyond_the_folder_is_given_away(tmp_path: Path) -> None:
    """The user has put links there, hard and symbolic, to files that are not its own."""
    secret = tmp_path / "secret"
    secret.write_text("root's")
    secret.chmod(0o600)
    state = tmp_path / "state"
    state.mkdir()
    prepare_folder(state, USER)
    (state / "sinks/soft").symlink_to(secret)
    (state / "sinks/spool.sqlite3").hardlink_to(secret)
    (state / "sinks/folder").mkdir()
    prepare_folder(state, OTHER)
    assert read_owner(secret) == (0, 0, 0o600)
    assert read_owner(state / "sinks/folder")[0] == 0
    assert read_owner(state / "sinks")[0] == OTHER.uid


def test_link_in_place_of_the_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(0o755)
    state = tmp_path / "state"
    state.mkdir()
    (state / "sinks").symlink_to(elsewhere)
    prepare_folder(state, USER)
    assert read_owner(elsewhere) == (0, 0, 0o755)
    assert "cannot be given to somebody" in caplog.text


def test_a_later_spool_is_not_overwritten(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    prepare_folder(tmp_path, USER)
    (tmp_path / "sinks/spool.sqlite3").write_text("new")
    (tmp_path / "spool.sqlite3").write_text("old")
    prepare_folder(tmp_path, USER)
    assert (tmp_path / "sinks/spool.sqlite3").read_text() == "new"
    assert "spool.sqlite3 of an earlier version is not used" in caplog.text


def test_directory_that_is_not_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Others tell of it."""
    prepare_folder(tmp_path / "none", USER)
    assert caplog.text == ""

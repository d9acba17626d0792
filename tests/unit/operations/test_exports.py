"""The table over a tree like ``/proc``; the keys of what is no mount point are this machine's."""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nfszbx.operations import exports, path_keys
from nfszbx.operations.exports import ExportTable
from nfszbx.operations.path_keys import KeyReader, PathKey, Place, read_key

FIRST = "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
Lines = tuple[str, ...]


class Machine:
    """A folder with the part of ``/proc`` that is read, and a file system for each mountd."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "proc/self/ns").mkdir(parents=True)
        (root / "proc/self/ns/user").touch()

    def run_server(
        self,
        pid: int,
        content: Lines,
        mounts: str = FIRST,
        comm: str = "rpc.mountd",
        begin: int = 0,
    ) -> Path:
        """Its root."""
        process = self.root / f"proc/{pid}"
        (process / "net/rpc/nfsd.export").mkdir(parents=True, exist_ok=True)
        (process / "ns").mkdir(exist_ok=True)
        for name in ("net", "mnt"):
            (process / "ns" / name).touch()
        (process / "ns/user").unlink(missing_ok=True)
        (process / "ns/user").hardlink_to(self.root / "proc/self/ns/user")
        (process / "comm").write_text(f"{comm}\n")
        (process / "status").write_text("Name:\tmountd\nUid:\t0\t0\t0\t0\n")
        (process / "stat").write_text(f"{pid} (rpc) mo) S 1{' 0' * 17} {begin} 0\n")
        (process / "root").mkdir(exist_ok=True)
        self.change(pid, content, mounts)
        return process / "root"

    def change(self, pid: int, content: Lines, mounts: str = FIRST) -> None:
        process = self.root / f"proc/{pid}"
        lines = "".join(f"{path}\t*(rw)\n" for path in content)
        table = process / "net/rpc/nfsd.export/content"
        table.write_text(f"#path domain(flags)\n{lines}")
        (process / "mountinfo").write_text(mounts)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def mount(number: int, point: str) -> str:
    return f"{number} 21 0:{number} / {point} rw - tmpfs none rw\n"


def open_table(machine: Machine, *, unique: bool = False) -> ExportTable:
    table = ExportTable(machine.root, unique=unique)
    table.refresh()
    return table


def test_export_without_a_path_is_unknown_and_said_once(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    table = open_table(machine)
    assert [table.find_path(7, 0) for _ in range(3)] == ["unknown"] * 3
    assert [record.message for record in caplog.records] == [
        "an export without a known path (mount 7, inode 0)"
    ]


def test_mount_points_are_told_by_the_list_of_mounts_alone(machine: Machine) -> None:
    """Also where nothing is there to look at, as on a file system that does not answer."""
    mounts = FIRST + mount(30, "/srv/a/data") + mount(31, r"/srv/b\040c/data")
    machine.run_server(5, ("/", "/srv/a/data", r"/srv/b\040c/data"), mounts)
    table = open_table(machine)
    assert table.find_path(21, 0) == "/"
    assert table.find_path(30, 0) == "/srv/a/data"
    assert table.find_path(31, 0) == "/srv/b c/data"


@pytest.mark.parametrize("unique", [False, True])
def test_directories_are_told_by_mount_and_inode(machine: Machine, *, unique: bool) -> None:
    root = machine.run_server(5, ("/a/data", "/b/data", r"/with\040blank"))
    for name in ("a/data", "b/data", "with blank"):
        (root / name).mkdir(parents=True)
    table = open_table(machine, unique=unique)
    for name in ("/a/data", "/b/data", "/with blank"):
        assert table.find_path(*read_key(Place(root, name), unique=unique)) == name


def test_paths_with_one_key_are_unknown(
    machine: Machine, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As two subvolumes of btrfs have one, that are not mounted."""
    key = PathKey(40, 256)
    monkeypatch.setattr(path_keys, "read_key", lambda _place, **_: key)
    mounts = FIRST + mount(40, "/pool")
    machine.run_server(5, ("/pool/one", "/pool/two"), mounts)
    table = open_table(machine)
    assert table.find_path(*key) == "unknown"
    assert "/pool/one, /pool/two" in caplog.text
    machine.change(5, ("/pool/one",), mounts)
    table.refresh()
    assert table.find_path(*key) == "unknown"  # what was counted until now may be of both
    table.refresh()
    assert table.find_path(*key) == "/pool/one"


def test_what_was_found_outlasts_the_line_in_the_table(machine: Machine) -> None:
    """The kernel forgets exports that are not used; what they have moved is still to be told."""
    root = machine.run_server(5, ("/a",))
    (root / "a").mkdir()
    table = open_table(machine)
    key = read_key(Place(root, "/a"), unique=False)
    machine.change(5, (), f"{FIRST}{mount(key.mount, '/x')}")
    table.refresh()
    assert table.find_path(*key) == "/a"


def test_number_of_a_mount_that_has_gone_is_forgotten_at_once(machine: Machine) -> None:
    """Another mount may get it."""
    machine.run_server(5, ("/a",), FIRST + mount(30, "/a"))
    table = open_table(machine)
    machine.change(5, ("/a",), FIRST)
    table.refresh()
    assert table.find_path(30, 0) == "unknown"
    machine.change(5, ("/b",), FIRST + mount(30, "/b"))
    table.refresh()
    assert table.find_path(30, 0) == "/b"


def test_number_that_has_changed_hands_is_told_of_nobody_for_one_interval(machine: Machine) -> None:
    machine.run_server(5, ("/a",), FIRST + mount(30, "/a"))
    table = open_table(machine)
    machine.change(5, ("/b",), FIRST + mount(30, "/b"))
    table.refresh()
    assert table.find_path(30, 0) == "unknown"
    table.refresh()
    assert table.find_path(30, 0) == "/b"


def test_unique_number_is_kept_when_its_mount_has_gone(machine: Machine) -> None:
    root = machine.run_server(5, ("/a",))
    (root / "a").mkdir()
    table = open_table(machine, unique=True)
    machine.change(5, (), "")
    table.refresh()
    assert table.find_path(*read_key(Place(root, "/a"), unique=True)) == "/a"


def test_removed_directory_keeps_its_name(machine: Machine) -> None:
    root = machine.run_server(5, ("/a",))
    (root / "a").mkdir()
    table = open_table(machine, unique=True)
    key = read_key(Place(root, "/a"), unique=True)
    (root / "a").rmdir()
    machine.change(5, (r"/a\040(deleted)",))
    table.refresh()
    assert table.find_path(*key) == "/a"


def test_every_server_counts_and_the_first_process_where_there_is_none(machine: Machine) -> None:
    machine.run_server(1, ("/first",), FIRST + mount(30, "/first"), comm="init")
    assert open_table(machine).find_path(30, 0) == "/first"
    machine.run_server(5, ("/a",), FIRST + mount(31, "/a"))
    machine.run_server(6, ("/b",), FIRST + mount(32, "/b"), comm="nfsv4.exportd")
    table = open_table(machine)
    assert table.find_path(30, 0) == "unknown"
    assert table.find_path(31, 0) == "/a"
    assert table.find_path(32, 0) == "/b"


def test_the_youngest_of_one_namespace_is_asked(machine: Machine) -> None:
    """Another one may have been left behind; numbers of processes begin again."""
    machine.run_server(9, ("/old",), FIRST + mount(30, "/old"), begin=5)
    machine.run_server(7, ("/new",), FIRST + mount(30, "/new"), begin=6)
    machine.run_server(8, ("/older",), FIRST + mount(30, "/older"), begin=4)
    for name in ("net", "mnt"):
        for pid in (8, 9):
            (machine.root / f"proc/{pid}/ns/{name}").unlink()
            (machine.root / f"proc/{pid}/ns/{name}").hardlink_to(machine.root / f"proc/7/ns/{name}")
    assert open_table(machine).find_path(30, 0) == "/new"


def test_servers_are_few(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "MAX_VIEWS", 2)
    for pid in (5, 6, 7):
        machine.run_server(pid, (f"/{pid}",), FIRST + mount(30 + pid, f"/{pid}"), begin=pid)
    table = open_table(machine)
    assert [table.find_path(30 + pid, 0) for pid in (5, 6, 7)] == ["unknown", "/6", "/7"]


def test_process_that_only_has_the_name_is_not_believed(machine: Machine) -> None:
    """Of somebody else, or root in a user namespace of his own."""
    machine.run_server(5, ("/a",), FIRST + mount(30, "/a"))
    (machine.root / "proc/5/status").write_text("Uid:\t1000\t0\t0\t0\n")
    machine.run_server(6, ("/b",), FIRST + mount(31, "/b"))
    (machine.root / "proc/6/ns/user").unlink()
    (machine.root / "proc/6/ns/user").touch()
    (machine.root / "proc/1").mkdir()
    table = open_table(machine)
    assert [table.find_path(number, 0) for number in (30, 31)] == ["unknown"] * 2


def test_machine_without_nfsd(machine: Machine) -> None:
    (machine.root / "proc/1").mkdir()
    assert open_table(machine).find_path(30, 0) == "unknown"


def test_remembered_paths_have_a_bound(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "MAX_KEYS", 2)
    machine.run_server(5, ())
    table = ExportTable(machine.root, unique=False)
    for number in (30, 31, 32):
        mounts = FIRST + "".join(mount(n, f"/{n}") for n in range(30, number + 1))
        machine.change(5, (f"/{number}",), mounts)
        table.refresh()
    assert [table.find_path(n, 0) for n in (30, 31, 32)] == ["unknown", "/31", "/32"]


def test_nothing_is_asked_where_nothing_has_changed(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = machine.run_server(5, ("/a",))
    (root / "a").mkdir()
    table = open_table(machine)
    monkeypatch.setattr(KeyReader, "read", None)
    table.refresh()


def test_path_that_may_not_be_looked_at_is_said(
    machine: Machine, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_place: Place, **_: object) -> PathKey:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(path_keys, "read_key", refuse)
    machine.run_server(5, ("/a",))
    open_table(machine)
    assert "the export /a cannot be looked at" in caplog.text


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_file_system_that_does_not_answer_holds_nobody_up(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The others are named, it is named when it answers, and it is asked by one thread only."""
    caplog.set_level(logging.WARNING)
    root = machine.run_server(5, ("/a", "/dead", "/z"))
    for name in ("a", "dead", "z"):
        (root / name).mkdir()
    blocking, writing = os.pipe()
    asked = []

    def read_or_wait(place: Place, *, unique: bool) -> PathKey:
        asked.append(place.path)
        if place.path == "/dead":
            os.read(blocking, 1)
        return read_key(place, unique=unique)

    monkeypatch.setattr(path_keys, "read_key", read_or_wait)
    table = ExportTable(machine.root, unique=True)
    begin = time.monotonic()
    for _ in range(3):
        table.refresh()
    assert time.monotonic() - begin < 2.0
    keys = {name: read_key(Place(root, name), unique=True) for name in ("/a", "/dead", "/z")}
    assert table.find_path(*keys["/a"]) == "/a"
    assert table.find_path(*keys["/z"]) == "/z"
    assert table.find_path(*keys["/dead"]) == "unknown"
    assert asked.count("/dead") == 1
    os.close(writing)  # from now on it answers

    def is_named() -> bool:
        table.refresh()
        return table.find_path(*keys["/dead"]) == "/dead"

    wait_for(is_named)
    os.close(blocking)


def test_few_threads_wait_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    blocking, writing = os.pipe()
    asked = []

    def wait(place: Place, **_: object) -> PathKey:
        asked.append(place.path)
        os.read(blocking, 1)
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(path_keys, "read_key", wait)
    monkeypatch.setattr(path_keys, "WAIT_SECONDS", 0.01)
    reader = KeyReader(unique=True)
    for _ in range(10):
        assert not reader.read(Place(tmp_path, f"/{n}") for n in range(10))
    assert asked == [f"/{n}" for n in range(path_keys.MAX_WAITING)]
    os.close(writing)
    wait_for(lambda: len(reader.read([Place(tmp_path, "/again")])) == 1)
    os.close(blocking)

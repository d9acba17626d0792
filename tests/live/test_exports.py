"""Keys of exports on this machine's kernel: mounts in a namespace of their own, as mountd's."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from nfszbx.operations.export_lines import parse_mounts
from nfszbx.operations.exports import ExportTable, find_servers
from nfszbx.operations.path_keys import Place, read_key
from tests.requirements import require

MOUNTS = """
mount -t tmpfs none "$1"
mkdir -p "$1/a/data" "$1/b/data" "$1/bound" "$1/with blank" "$1/below"
mount --bind "$1/a/data" "$1/bound"
mount -t tmpfs none "$1/below"
mkdir "$1/below/sub"
mount -t tmpfs none "$1/below"
mkdir "$1/below/sub"
echo ready
read end
"""
NAMES = ("", "/a/data", "/b/data", "/bound", "/with blank", "/below", "/below/sub")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """Where the mounts are, in the eyes of a process."""
    require("unshare", "mount")
    command = ["unshare", "--mount", "sh", "-ec", MOUNTS, "sh", str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdin
        assert process.stdout.readline() == b"ready\n"
        yield tmp_path, process.pid
        process.stdin.close()


def make_table(folder: Path, pid: int, proc: Path, *, unique: bool) -> ExportTable:
    process = proc / "proc/1"
    (process / "net/rpc/nfsd.export").mkdir(parents=True)
    for name in ("root", "mountinfo", "ns"):
        (process / name).symlink_to(f"/proc/{pid}/{name}")
    content = "".join(f"{folder}{name}\t*(rw)\n".replace(" ", r"\040") for name in NAMES)
    (process / "net/rpc/nfsd.export/content").write_text(content)
    table = ExportTable(proc, unique=unique)
    table.refresh()
    return table


def test_every_path_has_a_key_of_its_own(
    folder: tuple[Path, int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A bind mount, two directories of one name, one with a blank, and a mount over a mount."""
    path, pid = folder
    table = make_table(path, pid, tmp_path_factory.mktemp("proc"), unique=False)
    mounts = parse_mounts(Path(f"/proc/{pid}/mountinfo").read_bytes())
    numbers = {mount.point: number for number, mount in mounts.items()}  # the last one is on top
    for name in NAMES:
        inode = Path(f"/proc/{pid}/root{path}{name}").stat().st_ino
        if f"{path}{name}" in numbers:
            key = numbers[f"{path}{name}"], 0
        else:
            above = f"{path}/below" if name == "/below/sub" else str(path)
            key = numbers[above], inode
        assert table.find_path(*key) == f"{path}{name}"


def test_numbers_that_are_never_given_again(
    folder: tuple[Path, int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path, pid = folder
    root = Path(f"/proc/{pid}/root")
    try:
        key = read_key(Place(root, "/"), unique=True)
    except OSError:
        pytest.skip("needs a kernel that numbers mounts for good")
    assert key.mount > 1 << 31  # the kernel begins there, so that the two kinds never mix
    table = make_table(path, pid, tmp_path_factory.mktemp("proc"), unique=True)
    keys = {name: read_key(Place(root, f"{path}{name}"), unique=True) for name in NAMES}
    assert len(set(keys.values())) == len(NAMES)
    assert {name: table.find_path(*keys[name]) for name in NAMES} == {
        name: f"{path}{name}" for name in NAMES
    }
    assert keys["/bound"].inode == 0
    assert os.stat(f"{root}{path}/b/data").st_ino == keys["/b/data"].inode  # noqa: PTH116


NOBODY = 65534


@pytest.mark.parametrize(
    ("before", "is_believed"),
    [
        ((), True),
        (("setpriv", f"--reuid={NOBODY}", "--clear-groups"), False),
        (("setpriv", f"--reuid={NOBODY}", "--clear-groups", "unshare", "-Ur"), False),
        (("unshare", "--user", "--map-root-user"), False),
    ],
)
def test_only_root_is_believed_to_be_mountd(before: tuple[str, ...], *, is_believed: bool) -> None:
    require("unshare", "setpriv")
    with TemporaryDirectory() as place:  # pytest's own are closed to others
        Path(place).chmod(0o755)
        program = shutil.copy("/bin/sleep", f"{place}/rpc.mountd")
        with subprocess.Popen([*before, program, "60"]) as process:
            folder = Path(f"/proc/{process.pid}")
            deadline = time.monotonic() + 10
            while (folder / "comm").read_text() != "rpc.mountd\n":
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.01)
            assert (folder in find_servers(Path("/proc"))) == is_believed
            process.kill()

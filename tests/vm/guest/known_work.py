"""Work on NFS mounts whose every byte is known, and what the clients say of it."""

import mmap
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.vm.guest import servers
from tests.vm.guest.clients import CLIENTS, Client, run
from tests.vm.guest.workloads import forget_pages

EXPORTS = (servers.EXPORT / "first/data", servers.EXPORT / "second/data")
"""Two with the same last name."""
SIZES = (0, 1, 511, 4096, 5000, 65_537, 300_001)
SPARSE_BYTES, DATA_BYTES = 1 << 20, 8192
BLOCK_BYTES = 4096
MISSING_FILES = 7
PAST_THE_END = (8192, 1 << 20)
SLOW_EXPORT = servers.EXPORT / "slow"
DELAY_MILLISECONDS = 150
SLOW_FILES = ("file", "other")
SLOW_BLOCKS, SLOW_STRIDE_BYTES = 104, 1 << 17
USER = 1234
USER_BYTES = 70_000
SAME_IN_4 = frozenset(("READ", "WRITE", "READ_PLUS", "COPY", "REMOVE", "RENAME", "READDIR"))
"""What the clients of NFS 4 count by the same name, once for each such operation."""
WITHOUT_EXPORT = frozenset(("NULL", "FSINFO", "FSSTAT", "PATHCONF"))
"""Of NFS 3: their answers have no file handle."""


@dataclass(frozen=True)
class Mount:
    """A client's mount of an export."""

    client: Client
    version: str
    export: Path
    ipv6: bool = False

    @property
    def address(self) -> str:
        """What nfszbx is to name the client."""
        return self.client.address(ipv6=self.ipv6)

    @contextmanager
    def mounted(self) -> Iterator[Path]:
        """Where it is mounted."""
        server = self.client.server(ipv6=self.ipv6)
        is_old = self.version == "3"
        path = self.export if is_old else Path("/") / self.export.relative_to(servers.EXPORT)
        source = f"[{server}]:{path}" if self.ipv6 else f"{server}:{path}"
        options = f"vers={self.version},hard" + (",nolock" if is_old else "")
        place = self.client.mount("nfs", source, options)
        try:
            yield place
        finally:
            self.client.unmount()


MOUNTS = (
    Mount(CLIENTS[0], "3", EXPORTS[0]),
    Mount(CLIENTS[1], "4.0", EXPORTS[0], ipv6=True),
    Mount(CLIENTS[2], "4.1", EXPORTS[1]),
    Mount(CLIENTS[3], "4.2", EXPORTS[1], ipv6=True),
    Mount(CLIENTS[0], "3", servers.EXPORT, ipv6=True),
)


def make_exports() -> None:
    """Those of above, beside the one that is there."""
    lines = [Path("/etc/exports").read_text().splitlines()[0]]
    for number, path in enumerate(EXPORTS, 11):
        path.mkdir(parents=True)
        run("mount", "-t", "tmpfs", "-o", "size=100m", "none", str(path))
        path.chmod(0o1777)
        lines.append(f"{path} *(rw,no_root_squash,no_subtree_check,insecure,fsid={number})")
    Path("/etc/exports").write_text("\n".join(lines) + "\n")
    run("exportfs", "-ra")


def make_slow_export() -> None:
    """On a device that takes its time for every read."""
    SLOW_EXPORT.mkdir()
    run("modprobe", "loop")
    image = "/run/slow.img"
    run("truncate", "--size=64M", image)
    run("mke2fs", "-q", "-t", "ext4", image)
    device = run("losetup", "--find", "--show", image).strip()
    sectors = run("blockdev", "--getsz", device).strip()
    table = f"0 {sectors} delay {device} 0 {DELAY_MILLISECONDS} {device} 0 0"
    run("dmsetup", "create", "slow", "--noudevsync", "--table", table)
    run("dmsetup", "mknodes")
    run("mount", "/dev/mapper/slow", str(SLOW_EXPORT))
    for name in SLOW_FILES:
        with (SLOW_EXPORT / name).open("wb") as file:
            file.write(bytes(SLOW_BLOCKS * SLOW_STRIDE_BYTES))
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    with Path("/etc/exports").open("a") as exports:
        exports.write(f"{SLOW_EXPORT} *(rw,no_root_squash,no_subtree_check,insecure)\n")
    run("exportfs", "-ra")


def read_slowly(file: Path, blocks: Iterable[int]) -> None:
    """Blocks that nobody has read, so far apart that none is read ahead: each from the device."""
    buffer = mmap.mmap(-1, BLOCK_BYTES)
    descriptor = os.open(file, os.O_RDONLY | os.O_DIRECT)
    try:
        for number in blocks:
            os.preadv(descriptor, [buffer], number * SLOW_STRIDE_BYTES)
    finally:
        os.close(descriptor)


def read_mount_counts(place: Path) -> Counter[str]:
    """Calls by their names, as the client of a mount has counted them."""
    text = Path("/proc/self/mountstats").read_text()
    entry = text.partition(f" mounted on {place} ")[2].partition("\ndevice ")[0]
    calls: Counter[str] = Counter()
    for line in entry.partition("per-op statistics")[2].splitlines():
        name, _, numbers = line.strip().partition(": ")
        if numbers:
            calls[name] += int(numbers.split()[0])
    return calls


def work(place: Path, *, copies: bool) -> Counter[str]:
    """Files of known sizes, short reads, holes, a copy, and what fails; the bytes that move."""
    moved: Counter[str] = Counter()
    folder = place / "work"
    folder.mkdir()
    for size in SIZES:
        (folder / f"file{size}").write_bytes(os.urandom(size))
        moved["write"] += size
    os.sync()
    forget_pages()
    for size in SIZES:
        read = (folder / f"file{size}").read_bytes()
        moved["read"] += len(read)
    moved["read"] += _read_past_the_end(folder / "file5000")
    moved["write"] += _write_sparse(folder / "sparse")
    if copies:
        moved["copy"] += _copy(folder / f"file{SIZES[-1]}", folder / "copied")
    for number in range(MISSING_FILES):
        if (folder / f"missing{number}").exists():
            raise RuntimeError("a file that nobody made")
    (folder / "file1").rename(folder / "renamed")
    (folder / "renamed").chmod(0o600)
    (folder / "link").symlink_to("renamed")
    (folder / "link").readlink()
    os.link(folder / "renamed", folder / "hard")
    for file in list(folder.iterdir()):
        file.unlink()
    folder.rmdir()
    return moved


def work_as_user(place: Path) -> Counter[str]:
    """A file that another one than root writes and reads; the bytes that move."""
    file = place / f"of{USER}"
    as_user = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups")
    run(
        *as_user, "dd", "if=/dev/urandom", f"of={file}", f"bs={USER_BYTES}", "count=1", "conv=fsync"
    )
    forget_pages()
    run(*as_user, "dd", f"if={file}", "of=/dev/null", f"bs={USER_BYTES}")
    file.unlink()
    return Counter(read=USER_BYTES, write=USER_BYTES)


def _read_past_the_end(file: Path) -> int:
    """Past the page cache, more than there is, and where nothing is; the bytes that came."""
    buffer = mmap.mmap(-1, 16 * BLOCK_BYTES)
    descriptor = os.open(file, os.O_RDONLY | os.O_DIRECT)
    try:
        return sum(os.preadv(descriptor, [buffer], at) for at in (0, BLOCK_BYTES, *PAST_THE_END))
    finally:
        os.close(descriptor)


def _write_sparse(file: Path) -> int:
    """A little data in the middle of a hole; the bytes that were written."""
    with file.open("wb") as sparse:
        sparse.truncate(SPARSE_BYTES)
        sparse.seek(SPARSE_BYTES // 2)
        return sparse.write(os.urandom(DATA_BYTES))


def _copy(source: Path, target: Path) -> int:
    """By the server itself."""
    with source.open("rb") as reader, target.open("wb") as writer:
        left = os.fstat(reader.fileno()).st_size
        while copied := os.copy_file_range(reader.fileno(), writer.fileno(), left):
            left -= copied
        return source.stat().st_size - left

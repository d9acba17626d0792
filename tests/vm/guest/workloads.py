"""What clients do with a mounted share."""

import functools
import os
import random
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.vm.guest.clients import run

MEGABYTE = 1 << 20
LARGE_FILE_MEGABYTES = 2
SMALL_FILES = 30
DIRECTORY_ENTRIES = 40

Workload = Callable[[Path], None]


def small_files(place: Path) -> None:
    """Many files of up to some kilobytes: written, read again from the server, removed."""
    sizes = random.Random(1)  # noqa: S311  the same sizes each time
    names = [place / f"small{number}" for number in range(SMALL_FILES)]
    for name in names:
        name.write_bytes(os.urandom(sizes.randrange(10_000)))
    forget_pages()
    for name in names:
        name.read_bytes()
        name.unlink()


def large_file(place: Path) -> None:
    """A large file through the page cache: written, and read again from the server."""
    name = place / "large"
    with name.open("wb") as file:
        for _ in range(LARGE_FILE_MEGABYTES):
            file.write(os.urandom(MEGABYTE))
        file.flush()
        os.fsync(file.fileno())
    forget_pages()
    with name.open("rb") as file:
        while file.read(MEGABYTE):
            pass


def direct_io(place: Path) -> None:
    """A file past the page cache, in blocks of an odd and of a large size."""
    name = str(place / "direct")
    for kilobytes, count in (("12", "25"), ("1024", "2")):
        block = (f"bs={kilobytes}K", f"count={count}", "status=none")
        run("dd", "if=/dev/urandom", f"of={name}", "oflag=direct", *block)
        run("dd", f"if={name}", "of=/dev/null", "iflag=direct", *block)


def metadata(place: Path) -> None:
    """A storm of small requests: create, look up, rename, list, change, remove.

    Of files, in a folder that stays: smbd of Samba 4.25.1 crashes ("Bad talloc magic value", in
    have_file_open_below) when clients remove directories while others have files open.
    """
    folder = place / "metadata"
    folder.mkdir(exist_ok=True)
    for number in range(DIRECTORY_ENTRIES):
        entry = folder / f"entry{number}"
        _insist(entry.touch)
        _insist(functools.partial(entry.chmod, 0o700))
        _insist(functools.partial(entry.rename, folder / f"renamed{number}"))
    for _ in range(3):
        forget_pages()
        for entry in folder.iterdir():
            _insist(entry.stat)
    for entry in folder.iterdir():
        _insist(entry.unlink)


WORKLOADS: tuple[Workload, ...] = (small_files, large_file, direct_io, metadata)


def do_at_once(jobs: Iterable[Callable[[], object]]) -> None:
    """Run the jobs at the same time; raise the first error when all have ended."""
    with ThreadPoolExecutor(16) as pool:
        for future in [pool.submit(job) for job in jobs]:
            future.result()


def _insist(action: Callable[[], object]) -> None:
    """Repeat what the kernel's SMB client now and then refuses with EAGAIN."""
    for _ in range(50):
        try:
            action()
        except BlockingIOError:
            time.sleep(0.1)
        else:
            return
    action()


def forget_pages() -> None:
    """Let what is read next come from the server.

    Without a sync: where a machine is its own client, that can wait for itself.
    """
    Path("/proc/sys/vm/drop_caches").write_text("3")

"""Builds the disk images of the test machines: a Debian of any suite, with everything installed.

An image is a folder with a disk, a kernel and an initial ramdisk. It is kept outside the checkout
(``XDG_CACHE_HOME``, ``~/.cache``), under a name that changes with everything that goes into it.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.vm.matrix import Row

_HERE = Path(__file__).parent
_REPOSITORY = _HERE.parent.parent
_CONSTRAINTS = _REPOSITORY / "packaging/constraints.txt"
_ADD_PACKAGES = _HERE / "add-packages"
_PACKAGES = (
    *("bpftrace", "python3", "iproute2", "procps", "util-linux", "kmod", "mount", "e2fsprogs"),
    *("nfs-kernel-server", "nfs-common", "rpcbind", "samba", "smbclient", "cifs-utils", "keyutils"),
    *("openssl", "rdma-core", "ibverbs-providers", "bpfcc-tools", "initramfs-tools"),
    "zstd",
)
_DISK_SPARE_MEGABYTES = 1000
_DISK_OPTIONS = ("-t", "ext4", "-O", "^has_journal", "-m", "0", "-N", "150000", "-L", "root")
# A ramdisk with nothing but the way to the disk boots fastest.
_SMALL_RAMDISK = (
    'mkdir -p "$1/etc/initramfs-tools/conf.d"; '
    'printf "MODULES=list\\nCOMPRESS=zstd\\n" >"$1/etc/initramfs-tools/conf.d/vm"'
)
# The first process; what it becomes comes with the checkout, so that it can change faster.
_LOADER = (
    r"#!/bin/sh\nmount -o remount,rw /\nmkdir -p /src\ntar -C /src -xf /dev/vdb\n"
    r"exec /src/tests/vm/guest/init\n"
)
_CUSTOMIZE = (
    'printf "virtio_pci\\nvirtio_blk\\next4\\n" >>"$1/etc/initramfs-tools/modules"',
    'chroot "$1" update-initramfs -u -k all',
    'cp tests/vm/add-packages "$1/tmp/add"; chroot "$1" sh /tmp/add; rm "$1/tmp/add"',
    f'printf \'{_LOADER}\' >"$1/nfszbx-init"; chmod 755 "$1/nfszbx-init"',
    'printf "127.0.0.1 localhost vm\\n::1 localhost\\n" >"$1/etc/hosts"',
)


@dataclass(frozen=True)
class Image:
    """What QEMU needs to boot a row."""

    disk: Path
    kernel: Path
    initial_ramdisk: Path


class ImageBuildError(Exception):
    """An image cannot be built: no test has failed, none could run."""


def get_image(row: Row) -> Image:
    """The image of a row, built when there is none of this recipe yet (one to two minutes)."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "nfszbx" / "vm"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"{row.kernel}-{_hash_recipe(row)}"
    with _lock(cache / f"{row.kernel}.lock"):
        if not folder.is_dir():
            for old in cache.glob(f"{row.kernel}-*"):
                shutil.rmtree(old)
            with TemporaryDirectory(dir=cache, prefix=f"building-{row.kernel}-") as building:
                _build(row, Path(building))
                (Path(building) / "image").rename(folder)
    return Image(folder / "disk.img", folder / "vmlinuz", folder / "initrd.img")


def _hash_recipe(row: Row) -> str:
    """Of everything that goes into an image, but for what the suites hold at the moment."""
    recipe = [*_describe_root(row, "mirror"), *_list_dependencies(), _CONSTRAINTS.read_text()]
    recipe += [_ADD_PACKAGES.read_text(), *_DISK_OPTIONS]
    return hashlib.sha256("\n".join(recipe).encode()).hexdigest()[:12]


def _list_dependencies() -> list[str]:
    project = tomllib.loads((_REPOSITORY / "pyproject.toml").read_text())["project"]
    return list(project["dependencies"])


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(row: Row, building: Path) -> None:
    root, image = building / "root", building / "image"
    image.mkdir()
    arguments = [str(root) if word == "-" else word for word in _describe_root(row, _find_mirror())]
    _run("mmdebstrap", *arguments, temporary=building)
    python = max(path.name for path in (root / "usr/bin").glob("python3.*[0-9]"))
    _run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--target", str(root / "opt/nfszbx"), "--constraint", str(_CONSTRAINTS)),
        *("--python-version", python.removeprefix("python"), "--platform", "manylinux2014_x86_64"),
        *("--only-binary", ":all:", "--no-compile", *_list_dependencies()),
    )
    version = _find_kernel(root, row)
    shutil.move(root / f"boot/vmlinuz-{version}", image / "vmlinuz")
    shutil.move(root / f"boot/initrd.img-{version}", image / "initrd.img")
    used = _run("du", "--summarize", "--block-size=1M", "--one-file-system", str(root))
    size = int(used.split()[0]) + _DISK_SPARE_MEGABYTES
    disk = str(image / "disk.img")
    _run(
        *("mke2fs", "-q", *_DISK_OPTIONS, "-d", str(root), disk, f"{size}M"),
    )


def _describe_root(row: Row, mirror: str) -> list[str]:
    """The arguments of mmdebstrap, but for the folder."""
    packages = [*_PACKAGES, f"linux-image-amd64/{row.kernel_suite}"]
    if "nfs_tls" not in row.lacks:
        packages.append("ktls-utils")
    return [
        *("--mode=root", "--variant=minbase", "--quiet", "--include", ",".join(packages)),
        "--keyring=/usr/share/keyrings/debian-archive-keyring.gpg",
        '--aptopt=Acquire::Check-Valid-Until "false"',
        '--aptopt=Acquire::Retries "3"',
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale")),
        f"--essential-hook={_SMALL_RAMDISK}",
        *(f"--customize-hook={hook}" for hook in _CUSTOMIZE),
        row.userland_suite,
        "-",
        *(f"deb {mirror} {suite} main" for suite in {row.userland_suite: 0, row.kernel_suite: 0}),
    ]


def _find_kernel(root: Path, row: Row) -> str:
    """The release of the row's kernel; a suite may have moved on to another one."""
    found = [path.name.removeprefix("vmlinuz-") for path in (root / "boot").glob("vmlinuz-*")]
    matching = [release for release in found if release.startswith(f"{row.kernel}.")]
    if len(matching) != 1:
        raise ImageBuildError(
            f"{row.kernel_suite} has the kernels {found}, not {row.kernel}: mend matrix.py"
        )
    return matching[0]


def _find_mirror() -> str:
    """The Debian archive that this machine's apt uses."""
    targets = _run("apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)")
    for line in targets.splitlines():
        label, _, uri = line.partition(" ")
        if label == "Debian":
            return uri
    raise ImageBuildError("apt knows no Debian archive; run apt-get update")


def _run(*command: str, temporary: Path | None = None) -> str:
    """Run a program to its end, gently; its output. Raises ImageBuildError with its last words."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    if temporary is not None:
        environment["TMPDIR"] = str(temporary)
    result = subprocess.run(
        ["nice", *command],
        env=environment,
        cwd=_REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if result.returncode != 0:
        words = (result.stderr or result.stdout).strip().splitlines()[-15:]
        raise ImageBuildError("\n".join([f"{command[0]} failed:", *words]))
    return result.stdout

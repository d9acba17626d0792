"""Builds the disk images of the test machines: a Debian of any suite, with everything installed.

An image is a folder with a disk, a kernel and an initial ramdisk. ``python -m tests.vm.image``
builds those that are missing; the tests do it themselves when they need one.
"""

import functools
import hashlib
import shutil
import signal
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from tests.debian import (
    REPOSITORY,
    BuildError,
    build_root,
    describe_root,
    find_mirror,
    get_cached,
    run,
)
from tests.vm.matrix import MATRIX, Row

_HERE = Path(__file__).parent
_CONSTRAINTS = REPOSITORY / "packaging/constraints.txt"
_ADD_PACKAGES = _HERE / "add-packages"
_PACKAGES = (
    *("bpftrace", "python3", "iproute2", "procps", "util-linux", "kmod", "mount", "e2fsprogs"),
    *("nfs-kernel-server", "nfs-common", "rpcbind", "samba", "smbclient", "cifs-utils", "keyutils"),
    *("openssl", "rdma-core", "ibverbs-providers", "bpfcc-tools", "initramfs-tools"),
    *("zstd", "dmsetup", "nethogs"),
)
_DISK_SPARE_MEGABYTES = 1000
DISK_OPTIONS = ("-t", "ext4", "-O", "^has_journal", "-m", "0", "-N", "150000", "-L", "root")
# A ramdisk with nothing but the way to the disk boots fastest.
SMALL_RAMDISK = (
    'mkdir -p "$1/etc/initramfs-tools/conf.d"; '
    'printf "MODULES=list\\nCOMPRESS=zstd\\n" >"$1/etc/initramfs-tools/conf.d/vm"'
)
# The first process; what it becomes comes with the checkout, so that it can change faster.
_LOADER = (
    r"#!/bin/sh\nmount -o remount,rw /\nmkdir -p /src\ntar -C /src -xf /dev/vdb\n"
    r"exec /src/tests/vm/guest/init\n"
)
CUSTOMIZE_RAMDISK = (
    'printf "virtio_pci\\nvirtio_blk\\next4\\n" >>"$1/etc/initramfs-tools/modules"',
    'chroot "$1" update-initramfs -u -k all',
)
_CUSTOMIZE = (
    *CUSTOMIZE_RAMDISK,
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
    init: str
    """The first process."""


def get_image(row: Row) -> Image:
    """The image of a row, built when there is none of this recipe yet (one to two minutes)."""
    folder = get_cached("vm", row.kernel, _hash_recipe(row), functools.partial(_build, row))
    return Image(folder / "disk.img", folder / "vmlinuz", folder / "initrd.img", "/nfszbx-init")


def _hash_recipe(row: Row) -> str:
    """Of everything that goes into an image, but for what the suites hold at the moment."""
    recipe = [*_describe_root(row, "mirror"), *_list_dependencies(), _CONSTRAINTS.read_text()]
    recipe += [_ADD_PACKAGES.read_text(), *DISK_OPTIONS]
    return hashlib.sha256("\n".join(recipe).encode()).hexdigest()[:12]


def _list_dependencies() -> list[str]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    return list(project["dependencies"])


def _build(row: Row, building: Path) -> None:
    root, image = building / "root", building / "made"
    image.mkdir()
    build_root(root, _describe_root(row, find_mirror()))
    python = max(path.name for path in (root / "usr/bin").glob("python3.*[0-9]"))
    run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--target", str(root / "opt/nfszbx"), "--constraint", str(_CONSTRAINTS)),
        *("--python-version", python.removeprefix("python"), "--platform", "manylinux2014_x86_64"),
        *("--only-binary", ":all:", "--no-compile", *_list_dependencies()),
    )
    version = _find_kernel(root, row)
    shutil.move(root / f"boot/vmlinuz-{version}", image / "vmlinuz")
    shutil.move(root / f"boot/initrd.img-{version}", image / "initrd.img")
    used = run("du", "--summarize", "--block-size=1M", "--one-file-system", str(root))
    size = int(used.split()[0]) + _DISK_SPARE_MEGABYTES
    disk = str(image / "disk.img")
    run(
        *("mke2fs", "-q", *DISK_OPTIONS, "-d", str(root), disk, f"{size}M"),
    )


def _describe_root(row: Row, mirror: str) -> list[str]:
    packages = [*_PACKAGES, f"linux-image-amd64/{row.kernel_suite}"]
    if "nfs_tls" not in row.lacks:
        packages.append("ktls-utils")
    hooks = [f"--essential-hook={SMALL_RAMDISK}"]
    hooks += [f"--customize-hook={hook}" for hook in _CUSTOMIZE]
    return describe_root(packages, (row.userland_suite, row.kernel_suite), *hooks, mirror=mirror)


def _find_kernel(root: Path, row: Row) -> str:
    """The release of the row's kernel; a suite may have moved on to another one."""
    found = [path.name.removeprefix("vmlinuz-") for path in (root / "boot").glob("vmlinuz-*")]
    matching = [release for release in found if release.startswith(f"{row.kernel}.")]
    if len(matching) != 1:
        raise BuildError(
            f"{row.kernel_suite} has the kernels {found}, not {row.kernel}: mend matrix.py"
        )
    return matching[0]


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # leave nothing behind
    for each in MATRIX:
        get_image(each)

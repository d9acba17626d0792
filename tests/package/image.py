"""Builds the disk images that the Debian package is installed on: clean systems under systemd.

Each has a file server and what the package depends on, all from the distribution, and nothing of
nfszbx. The tests build those that are missing.
"""

import functools
import hashlib
import shutil
from pathlib import Path

from tests.debian import build_root, describe_root, find_mirror, get_cached, run
from tests.vm.image import CUSTOMIZE_RAMDISK, DISK_OPTIONS, SMALL_RAMDISK, Image

SUITES = {"bookworm": "6.1", "trixie": "6.12"}
"""And their kernels. Debian 12 and 13."""
_PACKAGES = (
    *("systemd-sysv", "dbus", "linux-image-amd64", "initramfs-tools", "zstd"),
    *("nfs-kernel-server", "nfs-common", "iproute2", "procps", "kmod", "mount"),
    *("python3", "bpftrace"),  # what the package depends on
)
_DISK_SPARE_MEGABYTES = 400
_SHELL = Path(__file__).parent / "guest-shell.service"
# Nothing here waits for them, and they take long where the processor is emulated.
_MASKED = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer"),
    *("e2scrub_reap.service", "fstrim.timer", "getty.target", "systemd-timesyncd.service"),
    *("dev-hugepages.mount", "dev-mqueue.mount", "sys-fs-fuse-connections.mount"),
    *("modprobe@drm.service", "modprobe@efi_pstore.service", "modprobe@fuse.service"),
    *("modprobe@dm_mod.service", "modprobe@loop.service", "systemd-logind.service"),
    *("systemd-udev-trigger.service", "systemd-update-utmp.service", "systemd-random-seed.service"),
    *("rpc-gssd.service", "rpc-svcgssd.service", "nfs-idmapd.service", "nfs-blkmap.service"),
)
_UNITS = "/etc/systemd/system"
_CUSTOMIZE = (
    *CUSTOMIZE_RAMDISK,
    # The package's manual page is to be installed like on any other Debian.
    'rm -f "$1/etc/dpkg/dpkg.cfg.d/99mmdebstrap"',
    f'cp {_SHELL} "$1{_UNITS}/"; chroot "$1" systemctl enable {_SHELL.name}',
    f'chroot "$1" systemctl mask {" ".join(_MASKED)}',
    'printf "127.0.0.1 localhost vm\\n::1 localhost\\n" >"$1/etc/hosts"',
    'echo vm >"$1/etc/hostname"',
    'printf "/srv *(rw,no_root_squash,no_subtree_check,insecure,fsid=0)\\n" >"$1/etc/exports"',
)


def get_image(suite: str) -> Image:
    """The image of a Debian, built when there is none of this recipe yet (one to two minutes)."""
    name = f"systemd-{suite}"
    folder = get_cached("vm", name, _hash_recipe(suite), functools.partial(_build, suite))
    return Image(
        folder / "disk.img", folder / "vmlinuz", folder / "initrd.img", "/lib/systemd/systemd"
    )


def _hash_recipe(suite: str) -> str:
    recipe = [*_describe_root(suite, "mirror"), _SHELL.read_text(), *DISK_OPTIONS]
    return hashlib.sha256("\n".join(recipe).encode()).hexdigest()[:12]


def _build(suite: str, building: Path) -> None:
    root, image = building / "root", building / "made"
    image.mkdir()
    build_root(root, _describe_root(suite, find_mirror()))
    for name in ("vmlinuz", "initrd.img"):
        (found,) = (root / "boot").glob(f"{name}-*")
        shutil.move(found, image / name)
    used = run("du", "--summarize", "--block-size=1M", "--one-file-system", str(root))
    size = int(used.split()[0]) + _DISK_SPARE_MEGABYTES
    run("mke2fs", "-q", *DISK_OPTIONS, "-d", str(root), str(image / "disk.img"), f"{size}M")


def _describe_root(suite: str, mirror: str) -> list[str]:
    hooks = [f"--essential-hook={SMALL_RAMDISK}"]
    hooks += [f"--customize-hook={hook}" for hook in _CUSTOMIZE]
    return describe_root(_PACKAGES, (suite,), *hooks, mirror=mirror)

"""The kernels that nfszbx is tested on, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Row:
    """One virtual machine: a Debian kernel under a Debian userland."""

    kernel: str
    """Beginning of its ``uname -r``, and its name: ``make test-vm KERNEL=6.12``."""
    kernel_suite: str
    userland_suite: str
    stands_for: str
    ways: tuple[str, ...]
    """The ways of counting that the kernel offers, the one that nfszbx is to choose first."""
    inexact_ways: tuple[str, ...] = ()
    """Those of them that lose bytes here, as nfszbx says itself."""
    lacks: Mapping[str, str] = field(default_factory=dict)
    """Scenarios that cannot run here, by their names, and why."""


_NO_TLS = {"nfs_tls": "nfsd knows xprtsec=tls since Linux 6.4, and this suite has no ktls-utils"}
_KSMBD = ("ksmbd_cifs", "ksmbd_smbclient")

MATRIX = (
    Row(
        "5.10",
        kernel_suite="bullseye",
        userland_suite="bookworm",
        stands_for="kernels of the 5.x enterprise distributions",
        ways=("kprobe",),
        lacks={**_NO_TLS, **dict.fromkeys(_KSMBD, "ksmbd came with Linux 5.15")},
    ),
    Row(
        "6.1",
        kernel_suite="bookworm",
        userland_suite="bookworm",
        stands_for="before tcp_sendpage was removed",
        ways=("function_exit", "kprobe"),
        lacks={
            **_NO_TLS,
            "ksmbd_cifs": "the kernel's ksmbd dereferences a null pointer when the kernel's client "
            "opens a file (opinfo_put); smbclient's puts and gets work",
            "nfs_killed": "bpftrace 0.17 takes more than a minute to start anew in an emulated "
            "machine, and longer than the scenario under load; tests/live kills this version",
        },
    ),
    Row(
        "6.12",
        kernel_suite="trixie",
        userland_suite="trixie",
        stands_for="after tcp_sendpage, kTLS, Samba that renames its processes",
        ways=("function_exit", "kprobe", "tracepoint"),
        lacks={
            # Mended by Linux kernel commit a42896bebfcc ("ksmbd: harden file lifetime during
            # session teardown") (in v7.1); https://github.com/openwrt/openwrt/issues/24738
            "ksmbd_cifs": "the kernel's ksmbd (6.12.107) corrupts a list in smb2_open and panics "
            "under several mounts, without nfszbx as well; smbclient's puts and gets work",
        },
    ),
    Row(
        "7",  # moves on from release to release
        kernel_suite="sid",
        userland_suite="sid",
        stands_for="what comes next",
        ways=("kprobe", "function_exit", "tracepoint"),
        inexact_ways=("function_exit", "tracepoint"),
    ),
)

ROWS = {row.kernel: row for row in MATRIX}

"""The facts about a machine that decide how traffic can be counted there.

Facts are read once (``read.py``) and are plain data: what ``nfszbx facts`` prints on one machine is
what ``nfszbx script --facts FILE`` works with on another.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from nfszbx.errors import ConfigurationError


class Presence(StrEnum):
    """Unknown is never taken for absent: asking failed, and the reason says how."""

    PRESENT = "present"
    ABSENT = "absent"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Fact:
    """Whether something is there, and why not or why nobody knows."""

    presence: Presence
    reason: str = ""

    @property
    def is_present(self) -> bool:
        """Known to be there."""
        return self.presence is Presence.PRESENT

    @property
    def is_absent(self) -> bool:
        """Known not to be there."""
        return self.presence is Presence.ABSENT


PRESENT = Fact(Presence.PRESENT)


def absent(reason: str) -> Fact:
    """A fact that is known not to hold."""
    return Fact(Presence.ABSENT, reason)


def unknown(reason: str) -> Fact:
    """A fact that could not be found out."""
    return Fact(Presence.UNKNOWN, reason)


class Preemption(StrEnum):
    """When the kernel takes a CPU from a task that runs in the kernel."""

    NONE = "none"
    VOLUNTARY = "voluntary"
    LAZY = "lazy"
    FULL = "full"
    UNKNOWN = "unknown"

    @property
    def spares_programs(self) -> bool:
        """Is a BPF program that runs at a function never interrupted by another task?"""
        return self in (Preemption.NONE, Preemption.VOLUNTARY)


@dataclass(frozen=True)
class BpftraceFacts:
    """The bpftrace program on this machine."""

    program: Fact
    path: str = ""
    version: tuple[int, int, int] = (0, 0, 0)
    finds_btf: bool = True
    """False when it does not see the kernel's BTF, though it is there, unless told where."""

    @property
    def knows_raw_tracepoints(self) -> bool:
        """Since 0.18 (bpftrace commit 63aa8eb4f); one release later it lists them, too."""
        return self.version >= (0, 19, 0)

    @property
    def version_text(self) -> str:
        """``0.17.0``."""
        return ".".join(str(part) for part in self.version)


# Every kernel function and tracepoint that nfszbx may hook.
FUNCTIONS = (
    "do_tcp_sendpages",
    "nfsd_cache_update",
    "tcp_cleanup_rbuf",
    "tcp_sendmsg_locked",
)
# What the kernel's RPC servers pass calls and replies through; of the module sunrpc.
RPC_FUNCTIONS = ("svc_process", "svc_send")
# Where their connections get data, and are put into the queue; of the same module.
QUEUE_FUNCTIONS = ("svc_data_ready", "svc_xprt_enqueue")
# Kernel symbols whose presence tells how the kernel sends, and what can be hooked.
SYMBOLS = (*FUNCTIONS, "release_sock", "tcp_sendpage", *RPC_FUNCTIONS, *QUEUE_FUNCTIONS)
TRACEPOINTS = (
    "nfsd:nfsd_compound_status",
    "nfsd:nfsd_drc_found",
    "nfsd:nfsd_garbage_args_err",
    "nfsd:nfsd_read_io_done",
    "nfsd:nfsd_write_io_done",
    "sock:inet_sock_set_state",
    "sock:sock_recv_length",
    "sock:sock_send_length",
    "sunrpc:svc_xprt_dequeue",
)
NFS_OFFSETS = frozenset(
    {
        *("args_minorversion", "args_ops", "args_rqstp", "d_inode", "ex_dentry", "ex_mnt"),
        *("fh_export", "fh_maxsize", "i_ino", "kthread_data", "mnt_id"),
        *("mnt_root", "nfs3_fh", "op_cp_bytes", "op_num"),
        *("op_size", "op_status", "res_opcnt", "res_current_fh"),
        *("res_rqstp", "rq_addr", "rq_argp", "rq_proc", "rq_prog", "rq_resp", "rq_server"),
        *("rq_stime", "rq_uid", "rq_vers", "rq_xprt", "sk_receive_queue", "sk_user_data"),
        *("start_boottime", "start_time", "sv_name", "svsk_sk", "task_kthread", "xpt_flags"),
    }
)


@dataclass(frozen=True)
class NfsLayout:
    """Where nfsd and the RPC servers keep what the scripts of NFS operations read.

    Offsets are in bytes, by names from :data:`NFS_OFFSETS`; ``op_size`` is the size of a
    ``struct nfsd4_op``, and ``mnt_id`` is counted from a mount's ``mnt``. ``nfs_layout.py`` says
    which members they are.
    """

    offsets: Mapping[str, int]
    missing: Mapping[str, Fact]
    """The names that are not in ``offsets``, each absent or unknown, and why."""
    is_assumed: bool = False
    """Are those of nfsd constants, because the kernel does not tell them?"""
    mount_id_is_unique: bool = False
    """Is ``mnt_id`` the 64-bit number that is never used again?"""

    def need(self, *names: str) -> Fact:
        """Present if all of them are there, else the first that is not."""
        for name in names:
            if name not in self.offsets:
                return self.missing[name]
        return PRESENT


def missing_layout(reason: Fact) -> NfsLayout:
    """No offset at all, for one reason."""
    return NfsLayout({}, dict.fromkeys(sorted(NFS_OFFSETS), reason))


@dataclass(frozen=True)
class KernelFacts:
    """What the kernel of one machine offers, and what is installed there to use it."""

    release: str
    """``uname -r``."""
    machine: str
    """``uname -m``."""
    byte_order: Literal["little", "big"]
    privilege: Fact
    """May this process load BPF programs (root with CAP_SYS_ADMIN)?"""
    kernel_memory: Fact
    """May BPF programs read kernel memory? Absent under ``lockdown=confidentiality``."""
    tracefs: Fact
    """Is tracefs mounted where bpftrace looks for it?"""
    btf: Fact
    """Does the kernel carry its type information (``/sys/kernel/btf/vmlinux``)?"""
    rpc_types: Fact
    """Does that information have the RPC servers' types (``struct svc_rqst``)?"""
    kprobes: Fact
    """Was the kernel built with kprobe events, and are they switched on?"""
    preemption: Preemption
    function_exit: Fact
    """Can BPF trampolines be attached (``bpftrace --info`` tries it)?"""
    bpftrace: BpftraceFacts
    symbols: Mapping[str, Fact]
    """By name from :data:`SYMBOLS`: is the function in the kernel (``/proc/kallsyms``)?"""
    traceable: Mapping[str, Fact]
    """By name from :data:`FUNCTIONS`: can it be traced (``available_filter_functions``)?"""
    tracepoints: Mapping[str, Fact]
    """By name from :data:`TRACEPOINTS`."""
    listening_ports: tuple[int, ...]
    """TCP ports with a listener in this network namespace; for information only."""
    other_nfsd_transports: tuple[str, ...]
    """Where nfsd listens beside TCP now: ``udp 2049``, ``rdma 20049``."""
    nfsd_threads: int
    """Threads that nfsd has now in this network namespace; 0 when it does not run."""
    nfs_layout: NfsLayout


_ADAPTER = TypeAdapter(KernelFacts)


def facts_to_json(facts: KernelFacts) -> str:
    """The facts as an indented JSON document that ends in a line feed."""
    return _ADAPTER.dump_json(facts, indent=2).decode() + "\n"


def facts_from_json(text: str, origin: str) -> KernelFacts:
    """The facts of a document made by :func:`facts_to_json`; ``origin`` names it in errors.

    Raises :class:`ConfigurationError` when the text is not such a document.
    """
    try:
        facts = _ADAPTER.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "document"
        raise ConfigurationError(
            f"{origin} is not a facts file: {where}: {first['msg']}",
            "make one with: nfszbx facts > FILE",
        ) from None
    for name, held, wanted in (
        ("symbols", facts.symbols, SYMBOLS),
        ("traceable", facts.traceable, FUNCTIONS),
        ("tracepoints", facts.tracepoints, TRACEPOINTS),
        (
            "nfs_layout",
            {*facts.nfs_layout.offsets, *facts.nfs_layout.missing},
            NFS_OFFSETS,
        ),
    ):
        missing = sorted(set(wanted) - set(held))
        if missing:
            raise ConfigurationError(
                f"{origin} is not a facts file of this version: {name} lacks {', '.join(missing)}",
                "make it again with: nfszbx facts > FILE",
            )
    return facts

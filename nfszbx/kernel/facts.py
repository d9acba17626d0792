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
FUNCTIONS = ("do_tcp_sendpages", "tcp_cleanup_rbuf", "tcp_sendmsg_locked")
# What the kernel's RPC servers pass calls and replies through; of the module sunrpc.
RPC_FUNCTIONS = ("svc_process", "svc_send")
# Kernel symbols whose presence tells how the kernel sends, and what can be hooked.
SYMBOLS = (*FUNCTIONS, "release_sock", "tcp_sendpage", *RPC_FUNCTIONS)
TRACEPOINTS = ("sock:inet_sock_set_state", "sock:sock_recv_length", "sock:sock_send_length")


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
    ):
        missing = sorted(set(wanted) - set(held))
        if missing:
            raise ConfigurationError(
                f"{origin} is not a facts file of this version: {name} lacks {', '.join(missing)}",
                "make it again with: nfszbx facts > FILE",
            )
    return facts

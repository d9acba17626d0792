"""Reads what the kernel offers for tracing, from proc, sysfs and tracefs.

Every function takes the root of the file system, so that tests can lay out a machine in a folder.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from nfszbx.kernel.facts import PRESENT, Fact, Preemption, absent, unknown

_TRACEFS = ("sys/kernel/tracing", "sys/kernel/debug/tracing")  # where bpftrace looks, too
_SYMBOL = rb"^[0-9a-f]+ [tTwW] (%b)(?:\t\[\w+\])?$"
_FUNCTIONS = "available_filter_functions"
_RPC_MEMBERS = ("svc_rqst", "rq_prot", "rq_deferred", "rq_addr", "rq_arg", "rq_res", "sv_name")
_CAP_SYS_ADMIN = 21  # include/uapi/linux/capability.h


def read_privilege(root: Path, user_id: int) -> Fact:
    """May a process of this user, with its effective capabilities, load the probes?

    bpftrace refuses users other than root before 0.25, and finds no kernel types without
    CAP_SYS_ADMIN, even with CAP_BPF and CAP_PERFMON.
    """
    if user_id != 0:
        return absent("root is needed to load BPF programs")
    try:
        status = (root / "proc/self/status").read_text()
    except OSError as error:
        return unknown(f"/proc/self/status: {error.strerror}")
    match = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    if match and int(match[1], 16) >> _CAP_SYS_ADMIN & 1:
        return PRESENT
    return absent("root lacks the capability CAP_SYS_ADMIN")


def find_tracefs(root: Path) -> Path | Fact:
    """The mounted tracefs, or why there is none to be seen. An empty mount point is none."""
    reason = absent("tracefs is not mounted")
    for place in _TRACEFS:
        try:
            if (root / place / "events").is_dir():
                return root / place
        except PermissionError:
            reason = unknown("only root may look into tracefs")
    return reason


def read_tracefs(root: Path) -> Fact:
    """Is tracefs mounted?"""
    tracefs = find_tracefs(root)
    return tracefs if isinstance(tracefs, Fact) else PRESENT


def read_kernel_memory(root: Path) -> Fact:
    """May BPF programs read kernel memory under the lockdown mode in force?

    The file reads like ``[none] integrity confidentiality``; without it there is no lockdown
    (or securityfs is not mounted, and then bpftrace itself reports the refusal).
    """
    try:
        text = (root / "sys/kernel/security/lockdown").read_text()
    except FileNotFoundError:
        return PRESENT
    except OSError as error:
        return unknown(f"/sys/kernel/security/lockdown: {error.strerror}")
    if "[confidentiality]" in text:
        return absent("kernel lockdown is in mode confidentiality")
    return PRESENT


def read_btf(root: Path) -> Fact:
    """Does the kernel carry its own type information?"""
    if (root / "sys/kernel/btf/vmlinux").exists():
        return PRESENT
    return absent("the kernel was built without CONFIG_DEBUG_INFO_BTF")


def read_rpc_types(root: Path) -> Fact:
    """Are the types of the RPC servers in the kernel's own type information?

    They belong to a module, but tracepoints and helpers in the kernel bring them in. A type that is
    only announced there has no members, so the names of the needed members are looked for.
    """
    try:
        names = (root / "sys/kernel/btf/vmlinux").read_bytes()
    except OSError as error:
        return absent(f"/sys/kernel/btf/vmlinux: {error.strerror}")
    missing = [name for name in _RPC_MEMBERS if b"\0%b\0" % name.encode() not in names]
    if missing:
        return absent(f"the kernel's BTF lacks struct svc_rqst ({', '.join(missing)})")
    return PRESENT


def read_kprobes(root: Path) -> Fact:
    """Can kprobes be attached through perf events or tracefs?

    The perf device ``kprobe`` exists since Linux kernel commit e12f03d7031a ("perf/core: Implement
    the 'perf_kprobe' PMU") (in v4.17); before, bpftrace writes to tracefs' ``kprobe_events``.
    """
    try:
        if (root / "sys/kernel/debug/kprobes/enabled").read_text().strip() == "0":
            return absent("kprobes are switched off in /sys/kernel/debug/kprobes/enabled")
    except OSError:
        pass  # debugfs is not mounted or not for us; the devices below tell the rest
    devices = root / "sys/bus/event_source/devices"
    tracefs = find_tracefs(root)
    if (devices / "kprobe").exists():
        return PRESENT
    if isinstance(tracefs, Fact):
        return unknown(tracefs.reason)
    if (tracefs / "kprobe_events").exists():
        return PRESENT
    return absent("the kernel was built without CONFIG_KPROBE_EVENTS")


def read_preemption(root: Path, version: str) -> Preemption:
    """The preemption mode in force; ``version`` is what ``uname -v`` prints.

    The mode can be chosen at boot, and read in debugfs, since Linux kernel commit 826bfeb37bb4
    ("preempt/dynamic: Support dynamic preempt with preempt= boot option") (in v5.12):
    ``none (voluntary) full``. A kernel without the choice says in its version what it is.
    """
    if "PREEMPT_DYNAMIC" in version:
        try:
            text = (root / "sys/kernel/debug/sched/preempt").read_text()
        except OSError:
            return Preemption.UNKNOWN
        match = re.search(r"\((none|voluntary|lazy|full)\)", text)
        return Preemption(match[1]) if match else Preemption.UNKNOWN
    return Preemption.FULL if "PREEMPT" in version else Preemption.VOLUNTARY


def read_symbols(root: Path, names: Sequence[str]) -> dict[str, Fact]:
    """Which of the functions are in the kernel, or in a module that is loaded."""
    try:
        table = (root / "proc/kallsyms").read_bytes()
    except OSError as error:
        return dict.fromkeys(names, unknown(f"/proc/kallsyms: {error.strerror}"))
    if not table:
        return dict.fromkeys(names, unknown("/proc/kallsyms is empty"))
    wanted = b"|".join(re.escape(name.encode()) for name in names)
    found = set(re.findall(_SYMBOL % wanted, table, re.MULTILINE))  # once, for all of them
    return {
        name: PRESENT if name.encode() in found else absent("not in this kernel, as it is loaded")
        for name in names
    }


def read_traceable(root: Path, symbols: dict[str, Fact], names: Iterable[str]) -> dict[str, Fact]:
    """Which of the functions the function tracer can reach."""
    tracefs = find_tracefs(root)
    facts = {name: symbols[name] for name in names}
    try:
        table = tracefs if isinstance(tracefs, Fact) else (tracefs / _FUNCTIONS).read_bytes()
    except OSError as error:
        table = unknown(f"{_FUNCTIONS}: {error.strerror}")
    if isinstance(table, Fact):
        reason = unknown(table.reason)
        return {name: fact if fact.is_absent else reason for name, fact in facts.items()}
    for name, fact in facts.items():
        if re.search(rb"^%b(?: |$)" % re.escape(name.encode()), table, re.MULTILINE):
            facts[name] = PRESENT
        elif not fact.is_absent:
            facts[name] = absent("in this kernel, but not traceable (inlined, or marked notrace)")
    return facts


def read_tracepoints(root: Path, names: Iterable[str]) -> dict[str, Fact]:
    """Which of the tracepoints (``group:name``) exist."""
    tracefs = find_tracefs(root)
    if isinstance(tracefs, Fact):
        return dict.fromkeys(names, unknown(tracefs.reason))
    return {
        name: PRESENT
        if (tracefs / "events" / name.replace(":", "/")).is_dir()
        else absent("not in this kernel")
        for name in names
    }


def read_listening_ports(root: Path) -> tuple[int, ...]:
    """TCP ports with a listener in this network namespace, IPv4 and IPv6, in order.

    ``/proc/net/tcp``: the second field is ADDRESS:PORT in hexadecimal, the fourth the state, in
    which 0A is TCP_LISTEN (``include/net/tcp_states.h``).
    """
    ports = set()
    for table in ("proc/net/tcp", "proc/net/tcp6"):
        try:
            lines = (root / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[3] == "0A":
                ports.add(int(fields[1].rpartition(":")[2], 16))
    return tuple(sorted(ports))


def read_other_nfsd_transports(root: Path) -> tuple[str, ...]:
    """The lines of ``/proc/fs/nfsd/portlist`` that are not TCP; empty without a running nfsd."""
    try:
        lines = (root / "proc/fs/nfsd/portlist").read_text().splitlines()
    except OSError:
        return ()
    return tuple(sorted({line for line in lines if line and not line.startswith("tcp")}))


def read_nfsd_threads(root: Path) -> int:
    """How many threads nfsd has; 0 when it does not run.

    From the line ``th`` of ``/proc/net/rpc/nfsd`` (nfsd_show in fs/nfsd/stats.c): unlike
    ``/proc/fs/nfsd/threads`` it does not wait while nfsd is started or stopped.
    """
    try:
        text = (root / "proc/net/rpc/nfsd").read_text()
    except OSError:
        return 0
    found = re.search(r"^th (\d+) ", text, re.MULTILINE)
    return int(found[1]) if found else 0

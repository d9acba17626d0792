"""Chooses, from facts and configuration, how NFS operations are counted; says what is left out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from nfszbx.config import Config
from nfszbx.kernel.facts import QUEUE_FUNCTIONS, Fact, KernelFacts, NfsLayout
from nfszbx.plan import MINIMUM_BPFTRACE, USE_KPROBES, Omission
from nfszbx.ways import Hook, need

COMPOUND, PROCEDURE, WAIT = "operations_compound", "operations_procedure", "operations_wait"
MOVED = "operations_moved"
CACHED, UNDECODABLE = "operations_cached", "operations_undecodable"
"""Fragments."""
FIRST_MAP_ENTRIES = 32_768
"""Of each map, before any has been nearly full; the kernel takes some 25 MB for them at once."""
_NEWER_KERNEL = "use a newer kernel"

# What each fragment reads.
_THREAD = ("task_kthread", "kthread_data", "rq_argp", "rq_resp")
_COMPOUND = (
    *(
        *_THREAD,
        "res_rqstp",
        "res_current_fh",
        "args_minorversion",
        "args_ops",
        "op_num",
        "op_size",
    ),
)
_REQUEST = ("rq_prog", "rq_vers", "rq_proc")
_PROCEDURE = (*_REQUEST, "rq_resp", "nfs3_fh")
_MOVED = (*_COMPOUND, "res_opcnt", "rq_vers", "rq_proc", "nfs3_fh")
_COPIES = ("op_status", "op_cp_bytes")
_LABELS = {
    "client": ("rq_addr",),
    "export": (*("fh_export", "ex_mnt", "ex_dentry", "mnt_id", "mnt_root", "d_inode", "i_ino"),),
    "operation": (),
    "user": ("rq_uid",),
}
_WAIT = (
    *("task_kthread", "kthread_data", "rq_server", "sv_name", "rq_xprt", "xpt_flags"),
    *("svsk_sk", "sk_user_data", "sk_receive_queue"),
)


@dataclass(frozen=True)
class OperationsPlan:
    """What will be counted of NFS operations; nothing without hooks."""

    hooks: tuple[Hook, ...]
    layout: NfsLayout
    labels: frozenset[str]
    """Of ``client``, ``export``, ``operation`` and ``user``, those that are asked for and known."""
    has_latency: bool
    latency_by_client: bool
    omissions: tuple[Omission, ...]
    byte_order: Literal["little", "big"]
    interval_seconds: int
    map_max_entries: int
    """Of each map, in the next child."""
    map_limit: int
    """What it may grow to."""
    bpftrace_version: tuple[int, int, int]
    bpftrace_finds_btf: bool
    raw_tracepoints: bool

    @property
    def has_copies(self) -> bool:
        """Are the bytes of COPY counted, where operations of NFS 4 are?"""
        return self.layout.need(*_COPIES).is_present

    @property
    def has_waits(self) -> bool:
        """Is the wait for a free thread measured?"""
        return any(hook.fragment == WAIT for hook in self.hooks)


def make_operations_plan(facts: KernelFacts, config: Config) -> OperationsPlan:
    """The plan for a machine as it is now; it has no hooks while nfsd does not run."""
    settings, layout = config.operations, facts.nfs_layout
    reason = _find_obstacle(facts, config)
    judged = () if reason else _judge_hooks(facts)
    labels: dict[str, Fact] = {label: layout.need(*_LABELS[label]) for label in settings.labels}
    told = frozenset(label for label, known in labels.items() if known.is_present)
    latency = _judge_latency(facts)
    omissions = [Omission("NFS operations", *reason)] if reason else []
    omissions += [
        Omission(what, available.reason, _find_remedy(available, facts.kprobes))
        for what, available, _ in judged
        if not available.is_present
    ]
    hooks = tuple(hook for _, available, hook in judged if available.is_present)
    if hooks:
        omissions += _find_omissions(facts, labels, latency)
    return OperationsPlan(
        hooks,
        layout,
        told,
        has_latency=latency.is_present,
        latency_by_client=settings.latency_by_client and "client" in told,
        omissions=tuple(omissions),
        byte_order=facts.byte_order,
        interval_seconds=max(settings.interval_seconds, config.interval_seconds),
        map_max_entries=min(FIRST_MAP_ENTRIES, settings.map_max_entries),
        map_limit=settings.map_max_entries,
        bpftrace_version=facts.bpftrace.version,
        bpftrace_finds_btf=facts.bpftrace.finds_btf,
        raw_tracepoints=facts.bpftrace.knows_raw_tracepoints,
    )


def _find_obstacle(facts: KernelFacts, config: Config) -> tuple[str, str] | None:
    """Why nothing at all is counted, and what would change that."""
    if not config.operations.enabled:
        return "they are switched off", "set operations.enabled to true"
    if not config.services.nfsd.enabled:
        return "the service nfsd is switched off", "set services.nfsd.enabled to true"
    if facts.nfsd_threads == 0:
        return "nfsd does not run", "start it: systemctl start nfs-server"
    if not facts.bpftrace.program.is_present or facts.bpftrace.version < MINIMUM_BPFTRACE:
        return "there is no bpftrace that can count them", "install bpftrace 0.17 or later"
    return None


def _find_remedy(lacking: Fact, kprobes: Fact) -> str:
    """Kprobes are a matter of how a kernel was built; all else comes with its age."""
    if kprobes.reason and kprobes.reason in lacking.reason:
        return USE_KPROBES
    return _NEWER_KERNEL


def _judge_hooks(facts: KernelFacts) -> tuple[tuple[str, Fact, Hook], ...]:
    """Each metric's hook, and whether it is possible."""
    layout, tracepoints = facts.nfs_layout, facts.tracepoints
    compound = need(tracepoints["nfsd:nfsd_compound_status"], layout.need(*_COMPOUND))
    procedure, place = _judge_procedure(facts)
    hooks = [
        ("operations of NFSv4", compound, _place(COMPOUND)),
        (
            "procedures of NFSv2 and NFSv3",
            need(procedure, layout.need(*_PROCEDURE)),
            Hook(PROCEDURE, "kprobe:nfsd_cache_update", place),
        ),
    ]
    for what, done in (("read", "nfsd_read_io_done"), ("written", "nfsd_write_io_done")):
        available = need(tracepoints[f"nfsd:{done}"], layout.need(*_MOVED))
        hook = Hook(MOVED, "nfsd_read_io_done", done)
        hooks.append((f"bytes {what} by NFS operations", available, hook))
    for what, fragment, tracepoint in (
        ("NFS requests answered from the cache of replies", CACHED, "nfsd:nfsd_drc_found"),
        ("undecodable NFS requests", UNDECODABLE, "nfsd:nfsd_garbage_args_err"),
    ):
        needed = layout.need(*_THREAD, *_REQUEST)
        hooks.append((what, need(tracepoints[tracepoint], needed), _place(fragment)))
    functions = [facts.symbols[name] for name in (*QUEUE_FUNCTIONS, "svc_process")]
    dequeue = tracepoints["sunrpc:svc_xprt_dequeue"]
    wait = need(dequeue, facts.kprobes, *functions, layout.need(*_WAIT))
    return (*hooks, ("wait for a free thread of nfsd", wait, _place(WAIT)))


def _judge_procedure(facts: KernelFacts) -> tuple[Fact, str]:
    """Can a probe be placed on nfsd_cache_update, and which? Kprobes miss the least."""
    name = "nfsd_cache_update"
    kprobe = need(facts.kprobes, facts.symbols[name])
    function = need(facts.function_exit, facts.traceable[name])
    if not kprobe.is_present and function.is_present and not facts.nfs_layout.is_assumed:
        return function, f"kfunc:nfsd:{name}"
    return kprobe, f"kprobe:{name}"


def _judge_latency(facts: KernelFacts) -> Fact:
    """The kernel notes the begin by a clock that stands still in sleep; bpftrace's may not."""
    names = ["rq_stime"]
    if not has_monotonic_clock(facts.bpftrace.version):
        names += ["start_time", "start_boottime"]
    return facts.nfs_layout.need(*names)


def has_monotonic_clock(bpftrace_version: tuple[int, int, int]) -> bool:
    """Does bpftrace know ``nsecs(monotonic)``?"""
    return bpftrace_version >= (0, 19, 0)


def count_entries_of_time(bpftrace_version: tuple[int, int, int]) -> int:
    """Of a map of ``stats()``, for each key: up to 0.21 number and sum have one each."""
    return 1 if bpftrace_version >= (0, 22, 0) else 2


def _place(fragment: str) -> Hook:
    return Hook(fragment, "", "")


def _find_omissions(
    facts: KernelFacts, labels: Mapping[str, Fact], latency: Fact
) -> Iterator[Omission]:
    for label, known in labels.items():
        if not known.is_present:
            yield Omission(f"the {label} of NFS operations", known.reason, _NEWER_KERNEL)
    copies = facts.nfs_layout.need(*_COPIES)
    if not copies.is_present:
        yield Omission("bytes of COPY", copies.reason, _NEWER_KERNEL)
    if not latency.is_present:
        yield Omission("the time of NFS requests", latency.reason, _NEWER_KERNEL)
    if any(transport.startswith("rdma") for transport in facts.other_nfsd_transports):
        yield Omission(
            "wait for a free thread of nfsd, over RDMA",
            "a connection without a socket does not tell when a request has come in",
            "mount over TCP",
        )
    if facts.nfs_layout.is_assumed:
        yield Omission(
            "NFS operations, if nfsd of this kernel is not that of 5.10.220 or later",
            "the kernel does not tell where its modules keep their data",
            _NEWER_KERNEL,
        )
    if not facts.preemption.spares_programs:
        yield Omission(
            "a part of the NFS operations",
            "on a preemptible kernel those are missed that come while another program is "
            "preempted on their CPU; nfszbx_nfs_uncounted_operations_total counts these",
            "boot with preempt=voluntary",
        )

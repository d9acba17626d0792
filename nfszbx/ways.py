"""The ways to count each direction, judged for one kernel.

What the hooks see, and what they miss, was measured on real kernels; docs/counting.md has it.
"""

from dataclasses import dataclass

from nfszbx.config import Way
from nfszbx.kernel.facts import RPC_FUNCTIONS, Fact, KernelFacts, Presence
from nfszbx.traffic import Direction

_TLS_LIMIT = "NFS over TLS is counted as plain text, without what TLS adds"
_MAP_READERS_LIMIT = (
    "on a preemptible kernel calls are missed while a program that reads BPF maps is preempted on "
    "their CPU; nfszbx_missed_runs_total counts these"
)
_SHORT_LIMIT = (
    "on a preemptible kernel a connection is missed that begins and ends while a program that "
    "reads BPF maps is preempted on its CPU; nfszbx_missed_runs_total counts missed runs"
)
_PREEMPTION_LIMIT = (
    "on a preemptible kernel a call that interrupts another one in the same probe is missed; "
    "nfszbx_missed_runs_total counts these"
)
_REPEATS_LIMIT = (
    "a reader that peeks (MSG_PEEK) or waits for a full buffer (MSG_WAITALL) is counted more "
    "than once; nfsd, smbd and ksmbd do neither"
)
_SPLICE_LIMIT = "data taken by splice(2) is not counted; no service here does that"
_CONNECTIONS_LIMIT = (
    "of more connections at a time than map_max_entries, those beyond are not counted"
)
_PAGES_LIMIT = (
    "what goes through tcp_sendpage, where the kernel has it, is not seen: most of what nfsd "
    "sends, and what smbd sends with 'use sendfile = yes'"
)


@dataclass(frozen=True)
class Hook:
    """A fragment of ``scripts/bpftrace/``, placed on a kernel function or tracepoint."""

    fragment: str
    """Its file name without ``.bt``."""
    written_for: str
    """The function or probe that the fragment names."""
    placed_on: str
    """What the script is to name in its place."""


@dataclass(frozen=True)
class Candidate:
    """One way to count one direction, judged for one kernel."""

    way: Way
    available: Fact
    exact: bool
    """Equal to the kernel's own socket counters for every service over plain TCP."""
    limits: tuple[str, ...]
    """What it does not count, or counts differently, and when."""
    hooks: tuple[Hook, ...]


def judge_receive(facts: KernelFacts) -> tuple[Candidate, ...]:
    """The ways to count what the server receives, in the order of preference."""
    preempted = not facts.preemption.spares_programs
    return _order(
        facts,
        Candidate(
            Way.FUNCTION_EXIT,
            need(facts.function_exit, facts.btf, facts.traceable["tcp_cleanup_rbuf"]),
            exact=not preempted,
            limits=(_REPEATS_LIMIT, *_limit_if(preempted, _PREEMPTION_LIMIT)),
            hooks=(Hook("receive_function_exit", "tcp_cleanup_rbuf", "tcp_cleanup_rbuf"),),
        ),
        Candidate(
            Way.KPROBE,
            need(
                facts.kprobes,
                facts.btf,
                facts.tracepoints["sock:inet_sock_set_state"],
                facts.symbols["tcp_cleanup_rbuf"],
            ),
            exact=not _loses_connections(facts),
            limits=_limit_if(_loses_connections(facts), _SHORT_LIMIT),
            hooks=(Hook("receive_kprobe", "tcp_cleanup_rbuf", "tcp_cleanup_rbuf"),),
        ),
        Candidate(
            Way.TRACEPOINT,
            need(facts.btf, facts.tracepoints["sock:sock_recv_length"]),
            exact=not preempted,
            limits=(_TLS_LIMIT, _SPLICE_LIMIT, *_limit_if(preempted, _MAP_READERS_LIMIT)),
            hooks=(Hook("receive_tracepoint", "sock_recv_length", "sock_recv_length"),),
        ),
    )


def judge_transmit(facts: KernelFacts) -> tuple[Candidate, ...]:
    """The ways to count what the server transmits, in the order of preference."""
    # Since Linux kernel commit dc97391e6610 ("sock: Remove ->sendpage*() in favour of
    # sendmsg(MSG_SPLICE_PAGES)") (in v6.5, but also in a distribution's 6.4) both are gone.
    pages = facts.symbols["do_tcp_sendpages"]
    names = (
        ("tcp_sendmsg_locked",) if pages.is_absent else ("tcp_sendmsg_locked", "do_tcp_sendpages")
    )
    sends_pages = not facts.symbols["tcp_sendpage"].is_absent
    preempted = not facts.preemption.spares_programs
    return _order(
        facts,
        Candidate(
            Way.FUNCTION_EXIT,
            need(facts.function_exit, facts.btf, *(facts.traceable[name] for name in names)),
            exact=not preempted,
            limits=_limit_if(preempted, _PREEMPTION_LIMIT),
            hooks=tuple(
                Hook("transmit_function_exit", "tcp_sendmsg_locked", name) for name in names
            ),
        ),
        Candidate(
            Way.KPROBE,
            need(
                facts.kprobes,
                facts.btf,
                facts.tracepoints["sock:inet_sock_set_state"],
                *(facts.symbols[name] for name in (*names, "release_sock")),
            ),
            exact=not _loses_connections(facts),
            limits=(_CONNECTIONS_LIMIT, *_limit_if(_loses_connections(facts), _SHORT_LIMIT)),
            hooks=(
                Hook(
                    "transmit_kprobe",
                    "kprobe:tcp_sendmsg_locked",
                    ",\n".join(f"kprobe:{name}" for name in names),
                ),
            ),
        ),
        Candidate(
            Way.TRACEPOINT,
            need(facts.btf, facts.tracepoints["sock:sock_send_length"]),
            exact=not preempted and not sends_pages,
            limits=(
                _TLS_LIMIT,
                *_limit_if(preempted, _MAP_READERS_LIMIT),
                *_limit_if(sends_pages, _PAGES_LIMIT),
            ),
            hooks=(Hook("transmit_tracepoint", "sock_send_length", "sock_send_length"),),
        ),
    )


def judge_rpc(facts: KernelFacts) -> tuple[Fact, tuple[Hook, ...]]:
    """Can nfsd's calls and replies over other transports than TCP be counted, and with what?

    By kprobes alone: they find the types in the kernel's own BTF, also where the module sunrpc has
    none, have no return whose thread they would have to follow, and are not preempted.
    """
    available = need(
        facts.kprobes, facts.rpc_types, *(facts.symbols[name] for name in RPC_FUNCTIONS)
    )
    hooks = [
        Hook(f"{direction}_rpc", name, name)
        for direction, name in zip(Direction, RPC_FUNCTIONS, strict=True)
    ]
    return available, tuple(hooks)


def _order(facts: KernelFacts, *candidates: Candidate) -> tuple[Candidate, ...]:
    """Function exit comes first where it is exact, and last where it may lose the most.

    Programs behind BPF trampolines run with preemption enabled, and one that is already running on
    a CPU is not run there again: Linux kernel commit ca06f55b9002 ("bpf: Add per-program recursion
    prevention mechanism") (in v5.12).
    """
    if facts.preemption.spares_programs:
        return candidates
    return tuple(sorted(candidates, key=lambda candidate: candidate.way is Way.FUNCTION_EXIT))


def _loses_connections(facts: KernelFacts) -> bool:
    """Can kprobes miss the begin and the end of a connection, and all in between?

    Programs of kprobes and tracepoints run with preemption disabled, but not at all on a CPU while
    a task there is inside an operation on a map (``bpf_disable_instrumentation``), and since Linux
    kernel commit 74d862b682f5 ("sched: Make migrate_disable/enable() independent of RT") (in v5.11)
    such a task can be preempted. Those of raw tracepoints do not heed that.
    """
    return not (facts.preemption.spares_programs or facts.bpftrace.knows_raw_tracepoints)


def _limit_if(applies: object, limit: str) -> tuple[str, ...]:
    return (limit,) if applies else ()


def need(*facts: Fact) -> Fact:
    """All of them: absent if one is, else unknown if one is."""
    for presence in (Presence.ABSENT, Presence.UNKNOWN):
        reasons = [fact.reason for fact in facts if fact.presence is presence]
        if reasons:
            return Fact(presence, "; ".join(dict.fromkeys(reasons)))
    return facts[0]

"""Chooses, from facts and configuration, how each direction is counted; says what is left out."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from nfszbx.config import Config, Way
from nfszbx.errors import BpftraceError, KernelError, NfszbxError, PrivilegeError
from nfszbx.kernel.facts import KernelFacts
from nfszbx.traffic import SLOTS, Direction, Service, Slot, Transport
from nfszbx.ways import Candidate, Hook, judge_receive, judge_rpc, judge_transmit

MINIMUM_BPFTRACE = (0, 17, 0)
NOT_THE_WAY_SET = "another way is set"
USE_KPROBES = "use a kernel with kprobes"
_INSTALL_BPFTRACE = "apt-get install bpftrace (or your distribution's package)"


@dataclass(frozen=True)
class Choice:
    """How one direction is counted; ``chosen`` is None when no way is left."""

    direction: Direction
    chosen: Candidate | None
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True)
class ServicePlan:
    """How the sockets of one service are recognised."""

    service: Service
    ports: tuple[int, ...]
    task_names: tuple[str, ...]
    any_port: bool


@dataclass(frozen=True)
class PortGroup:
    """Services that use the same ports, so that a socket alone does not tell them apart."""

    services: tuple[Service, ...]
    ports: tuple[int, ...]


@dataclass(frozen=True)
class Omission:
    """Something that is not measured, why, and what would change that."""

    what: str
    reason: str
    remedy: str


@dataclass(frozen=True)
class Obstacle:
    """Something that keeps nfszbx from measuring anything at all."""

    kind: Literal["privilege", "bpftrace", "kernel"]
    problem: str
    remedy: str

    def as_error(self) -> NfszbxError:
        """The obstacle as the error that ends the program."""
        errors = {"privilege": PrivilegeError, "bpftrace": BpftraceError, "kernel": KernelError}
        return errors[self.kind](self.problem, self.remedy)


@dataclass(frozen=True)
class Plan:
    """What will run, what will not, and why."""

    choices: tuple[Choice, ...]
    services: tuple[ServicePlan, ...]
    audited: tuple[PortGroup, ...]
    """What is compared with the kernel's own counters per socket; empty where it is not done."""
    rpc_transports: tuple[Transport, ...]
    """Those beside TCP that nfsd listens on and whose messages are counted."""
    rpc_hooks: tuple[Hook, ...]
    omissions: tuple[Omission, ...]
    obstacles: tuple[Obstacle, ...]
    byte_order: Literal["little", "big"]
    interval_seconds: int
    map_max_entries: int
    bpftrace_version: tuple[int, int, int]
    bpftrace_finds_btf: bool
    raw_tracepoints: bool
    """Is the state of connections told by a raw tracepoint?"""

    @property
    def measured_directions(self) -> tuple[Direction, ...]:
        """The directions that are counted."""
        return tuple(choice.direction for choice in self.choices if choice.chosen)

    @property
    def measured_slots(self) -> frozenset[Slot]:
        """What is counted: the rest is missing in every sink, rather than zero."""
        services = {plan.service for plan in self.services}
        return frozenset(
            slot
            for slot in SLOTS
            if slot.service in services
            and (
                slot.direction in self.measured_directions
                if slot.transport is Transport.TCP
                else slot.transport in self.rpc_transports
            )
        )


def make_plan(facts: KernelFacts, config: Config) -> Plan:
    """The plan for a machine; whatever is missing is in it as an omission or an obstacle."""
    choices = tuple(_choose(direction, facts, config) for direction in Direction)
    services = tuple(
        ServicePlan(
            service, tuple(sorted(set(c.ports))), tuple(sorted(set(c.task_names))), c.any_port
        )
        for service, c in config.services.enabled().items()
    )
    transports, hooks = _choose_rpc(facts, config)
    return Plan(
        choices,
        services,
        _choose_audited(facts, config, services),
        transports,
        hooks,
        tuple(_find_omissions(facts, config, choices, transports)),
        tuple(_find_obstacles(facts, config, choices)),
        facts.byte_order,
        config.interval_seconds,
        config.map_max_entries,
        facts.bpftrace.version,
        facts.bpftrace.finds_btf,
        facts.bpftrace.knows_raw_tracepoints,
    )


def leave_out_rpc(plan: Plan) -> Plan:
    """The plan for a machine on which the hooks of RPC messages turned out not to work."""
    left_out = [
        Omission(f"NFS over {transport}", "its probes cannot be attached", "mount with proto=tcp")
        for transport in plan.rpc_transports
    ]
    return replace(plan, rpc_transports=(), rpc_hooks=(), omissions=(*plan.omissions, *left_out))


def _choose(direction: Direction, facts: KernelFacts, config: Config) -> Choice:
    judge = judge_receive if direction is Direction.RECEIVE else judge_transmit
    candidates = judge(facts)
    allowed = [
        candidate
        for candidate in candidates
        if not candidate.available.is_absent and config.way in ("auto", candidate.way)
    ]
    # Known to work before perhaps, exact before not, then the order of preference.
    allowed.sort(key=lambda c: (not c.available.is_present, not c.exact))
    return Choice(direction, allowed[0] if allowed else None, candidates)


def _choose_rpc(
    facts: KernelFacts, config: Config
) -> tuple[tuple[Transport, ...], tuple[Hook, ...]]:
    """What nfsd listens on beside TCP, and the hooks for it; nothing when there are none."""
    available, hooks = judge_rpc(facts)
    listening = {listener.partition(" ")[0] for listener in facts.other_nfsd_transports}
    transports = tuple(transport for transport in Transport if transport in listening)
    if not transports or not available.is_present or not config.services.nfsd.enabled:
        return (), ()
    return transports, hooks


def _choose_audited(
    facts: KernelFacts, config: Config, services: tuple[ServicePlan, ...]
) -> tuple[PortGroup, ...]:
    """The services by shared ports; those on any port have sockets that no port tells."""
    if not config.audit_interval_seconds:
        return ()
    if not facts.tracepoints["sock:inet_sock_set_state"].is_present:
        return ()
    groups: list[tuple[list[ServicePlan], set[int]]] = []
    for service in services:
        members, ports = [service], set(service.ports)
        for group in [group for group in groups if group[1] & ports]:
            groups.remove(group)
            members, ports = group[0] + members, group[1] | ports
        groups.append((members, ports))
    return tuple(
        PortGroup(tuple(member.service for member in members), tuple(sorted(ports)))
        for members, ports in groups
        if not any(member.any_port for member in members)
    )


def _find_omissions(
    facts: KernelFacts,
    config: Config,
    choices: tuple[Choice, ...],
    rpc_transports: tuple[Transport, ...],
) -> Iterator[Omission]:
    remedy = "use a newer kernel" if config.way == "auto" else "set way to auto"
    for choice in choices:
        what = f"{'received' if choice.direction is Direction.RECEIVE else 'transmitted'} bytes"
        if choice.chosen is None:
            reasons = [
                f"{candidate.way}: {candidate.available.reason or NOT_THE_WAY_SET}"
                for candidate in choice.candidates
            ]
            yield Omission(what, "; ".join(reasons), remedy)
        elif not choice.chosen.exact:
            better = _find_better(choice.chosen, facts, config)
            yield Omission(f"a part of the {what}", choice.chosen.limits[-1], better)
    for listener in facts.other_nfsd_transports:
        if config.services.nfsd.enabled and listener.partition(" ")[0] not in rpc_transports:
            reason = judge_rpc(facts)[0].reason or "it is not known how to count it"
            yield Omission(f"NFS over {listener}", reason, "mount with proto=tcp")


def _find_better(chosen: Candidate, facts: KernelFacts, config: Config) -> str:
    """What would make an inexact choice exact."""
    if config.way != "auto":
        return "set way to auto"
    if facts.preemption.spares_programs:
        return "use a newer kernel"
    if chosen.way is Way.KPROBE:
        return "install bpftrace 0.19 or later"
    return USE_KPROBES


def _find_obstacles(
    facts: KernelFacts, config: Config, choices: tuple[Choice, ...]
) -> Iterator[Obstacle]:
    if facts.privilege.is_absent:
        remedy = "run it as root, in a container as a privileged one"
        yield Obstacle("privilege", facts.privilege.reason, remedy)
    bpftrace = facts.bpftrace
    if not bpftrace.program.is_present:
        remedy = "mend the setting bpftrace" if config.bpftrace else _INSTALL_BPFTRACE
        yield Obstacle("bpftrace", bpftrace.program.reason, remedy)
    elif bpftrace.version < MINIMUM_BPFTRACE:
        wanted = ".".join(map(str, MINIMUM_BPFTRACE))
        yield Obstacle(
            "bpftrace",
            f"{bpftrace.path} is version {bpftrace.version_text}, too old: {wanted} is the oldest "
            "that works",
            "install a newer bpftrace; name it with the setting bpftrace",
        )
    if facts.tracefs.is_absent:
        remedy = "mount -t tracefs tracefs /sys/kernel/tracing"
        yield Obstacle("kernel", facts.tracefs.reason, remedy)
    if facts.kernel_memory.is_absent:
        yield Obstacle(
            "kernel",
            f"BPF programs may not read kernel memory: {facts.kernel_memory.reason}",
            "boot with lockdown=integrity, or without Secure Boot",
        )
    if facts.btf.is_absent:
        remedy = "install a kernel with CONFIG_DEBUG_INFO_BTF=y"
        yield Obstacle("kernel", facts.btf.reason, remedy)
    elif not facts.tracefs.is_absent and not any(choice.chosen for choice in choices):
        if config.way == "auto":
            problem, remedy = "this kernel offers no way of counting", "use a newer kernel"
        else:
            reason = next(c.available.reason for c in choices[0].candidates if c.way == config.way)
            problem, remedy = f"the way {config.way} is not possible: {reason}", "set way to auto"
        yield Obstacle("kernel", problem, remedy)

"""What ``nfszbx check`` says about a machine: for people as text, for machines as JSON."""

from collections.abc import Iterable, Iterator

from pydantic import TypeAdapter

from nfszbx.kernel.facts import KernelFacts, Presence
from nfszbx.operations.plan import OperationsPlan
from nfszbx.plan import NOT_THE_WAY_SET, Choice, Omission, Plan, ServicePlan

_PLAN = TypeAdapter(Plan)
_OPERATIONS_PLAN = TypeAdapter(OperationsPlan)


def render_text(facts: KernelFacts, plan: Plan, operations: OperationsPlan) -> str:
    """The report for people; ends in a line feed."""
    lines = [*_render_head(facts, plan)]
    if facts.privilege.is_present and facts.tracefs.is_present:  # else too little is known
        lines += _render_body(facts, plan)
        lines += _render_operations(operations)
    return "\n".join(lines) + "\n"


def render_json(facts: KernelFacts, plan: Plan, operations: OperationsPlan) -> str:
    """``{"plan": …, "operations": …, "facts": …}``; the facts are a facts file, too."""
    plan_text = _PLAN.dump_json(plan, indent=2).decode()
    operations_text = _OPERATIONS_PLAN.dump_json(operations, indent=2).decode()
    facts_text = TypeAdapter(KernelFacts).dump_json(facts, indent=2).decode()
    return f'{{"plan": {plan_text},\n"operations": {operations_text},\n"facts": {facts_text}}}\n'


def find_idle_services(facts: KernelFacts, plan: Plan) -> list[ServicePlan]:
    """The services on whose ports nothing listens now, in this network namespace."""
    listening = set(facts.listening_ports)
    return [service for service in plan.services if not listening.intersection(service.ports)]


def _render_head(facts: KernelFacts, plan: Plan) -> Iterator[str]:
    bpftrace = facts.bpftrace
    program = f"bpftrace {bpftrace.version_text}" if bpftrace.program.is_present else "no bpftrace"
    yield f"Linux {facts.release} {facts.machine}, {program}"
    if plan.obstacles:
        yield ""
        yield "Nothing can be measured:"
        for obstacle in plan.obstacles:
            yield f"  - {obstacle.problem}"
            yield f"      {obstacle.remedy}"


def _render_body(facts: KernelFacts, plan: Plan) -> Iterator[str]:
    for choice in plan.choices:
        yield ""
        yield from _render_choice(choice)
    yield ""
    yield "Services:"
    idle = find_idle_services(facts, plan)
    for service in plan.services:
        now = " (nothing listens there now)" if service in idle else ""
        ports = ", ".join(map(str, service.ports)) or "none"
        names = (
            f", and tasks {', '.join(service.task_names)} on any port" if service.any_port else ""
        )
        yield f"  {service.service:<6} local TCP ports {ports}{names}{now}"
    if plan.rpc_transports:
        names = " and ".join(transport.upper() for transport in plan.rpc_transports)
        yield f"  nfsd   RPC messages over {names}, by kprobe, exact to the byte"
    if plan.omissions:
        yield ""
        yield "Not measured:"
        yield from _render_omissions(plan.omissions)


def _render_operations(operations: OperationsPlan) -> Iterator[str]:
    """Whether they are counted now, and what is told of them."""
    yield ""
    if not operations.hooks:
        for omission in operations.omissions:
            yield f"NFS operations: not counted now: {omission.reason} ({omission.remedy})"
        return
    labels = ", ".join(["version", *sorted(operations.labels)])
    yield f"NFS operations: by {labels}; every {operations.interval_seconds} s"
    times = ["how long requests take"] if operations.has_latency else []
    times += ["how long they wait for a thread"] if operations.has_waits else []
    yield f"  also {' and '.join(times)}" if times else "  no times"
    if operations.omissions:
        yield "  but not:"
        yield from _render_omissions(operations.omissions)


def _render_omissions(omissions: Iterable[Omission]) -> Iterator[str]:
    for omission in omissions:
        yield f"  {omission.what}: {omission.reason} ({omission.remedy})"


def _render_choice(choice: Choice) -> Iterator[str]:
    """One direction: the way in use, what it cannot see, and the other ways."""
    verb = "Received" if choice.direction == "receive" else "Transmitted"
    if choice.chosen is None:
        yield f"{verb} bytes: not measured"
    else:
        exactness = "exact to the byte" if choice.chosen.exact else "not exact"
        yield f"{verb} bytes: by {choice.chosen.way}, {exactness}"
        if choice.chosen.available.presence is Presence.UNKNOWN:
            yield f"    not certain to work: {choice.chosen.available.reason}"
        for limit in choice.chosen.limits:
            yield f"    {limit}"
    for candidate in choice.candidates:
        if candidate is not choice.chosen:
            possible = "possible, but another way comes first" if choice.chosen else NOT_THE_WAY_SET
            yield f"  {candidate.way}: {candidate.available.reason or possible}"

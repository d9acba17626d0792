"""Which way is chosen, on recorded kernels and on ones that lack something."""

import dataclasses
from pathlib import Path

import pytest

from nfszbx.config import Config, Way
from nfszbx.errors import BpftraceError, KernelError, PrivilegeError
from nfszbx.kernel.facts import (
    PRESENT,
    BpftraceFacts,
    KernelFacts,
    Preemption,
    absent,
    facts_from_json,
    unknown,
)
from nfszbx.plan import Plan, PortGroup, leave_out_rpc, make_plan
from nfszbx.script import render_script
from nfszbx.traffic import Direction, Service, Transport

FACTS = Path(__file__).parents[1] / "fixtures" / "facts"

PARTS = ["a part of the received bytes", "a part of the transmitted bytes"]


def recorded(name: str) -> KernelFacts:
    return facts_from_json((FACTS / f"{name}.json").read_text(), name)


def chosen(plan: Plan) -> dict[Direction, tuple[Way, bool, list[str]] | None]:
    return {
        choice.direction: (
            choice.chosen.way,
            choice.chosen.exact,
            [hook.placed_on for hook in choice.chosen.hooks],
        )
        if choice.chosen
        else None
        for choice in plan.choices
    }


@pytest.mark.parametrize(
    ("name", "receive", "transmit"),
    [
        (
            "debian11-5.10",
            (Way.KPROBE, True, ["tcp_cleanup_rbuf"]),
            (Way.KPROBE, True, ["kprobe:tcp_sendmsg_locked,\nkprobe:do_tcp_sendpages"]),
        ),
        (
            "debian12-6.1",
            (Way.FUNCTION_EXIT, True, ["tcp_cleanup_rbuf"]),
            (Way.FUNCTION_EXIT, True, ["tcp_sendmsg_locked", "do_tcp_sendpages"]),
        ),
        (
            "debian13-6.12",
            (Way.FUNCTION_EXIT, True, ["tcp_cleanup_rbuf"]),
            (Way.FUNCTION_EXIT, True, ["tcp_sendmsg_locked"]),
        ),
        (  # lazily preemptible, so function exit is not exact there
            "debian-unstable-7.2",
            (Way.KPROBE, True, ["tcp_cleanup_rbuf"]),
            (Way.KPROBE, True, ["kprobe:tcp_sendmsg_locked"]),
        ),
        (  # lazily preemptible as well, and there is nothing better
            "no-kprobes-6.18",
            (Way.TRACEPOINT, False, ["sock_recv_length"]),
            (Way.TRACEPOINT, False, ["sock_send_length"]),
        ),
    ],
)
def test_recorded_kernels(name: str, receive: object, transmit: object) -> None:
    plan = make_plan(recorded(name), Config())
    assert chosen(plan) == {Direction.RECEIVE: receive, Direction.TRANSMIT: transmit}
    assert not plan.obstacles
    is_exact = all(choice.chosen and choice.chosen.exact for choice in plan.choices)
    assert [omission.what for omission in plan.omissions] == ([] if is_exact else PARTS)
    assert {omission.remedy for omission in plan.omissions} <= {"use a kernel with kprobes"}


def test_kprobes_where_trampolines_are_missing() -> None:
    """arm64 before 6.0, for one."""
    facts = dataclasses.replace(recorded("debian12-6.1"), function_exit=absent("no trampolines"))
    plan = make_plan(facts, Config())
    assert chosen(plan)[Direction.TRANSMIT] == (
        Way.KPROBE,
        True,
        ["kprobe:tcp_sendmsg_locked,\nkprobe:do_tcp_sendpages"],
    )


PREEMPTED = [Preemption.LAZY, Preemption.FULL, Preemption.UNKNOWN]


@pytest.mark.parametrize("mode", PREEMPTED)
def test_only_kprobes_are_exact_where_the_kernel_is_preempted(mode: Preemption) -> None:
    facts = dataclasses.replace(recorded("debian13-6.12"), preemption=mode)
    assert chosen(make_plan(facts, Config()))[Direction.RECEIVE] == (
        Way.KPROBE,
        True,
        ["tcp_cleanup_rbuf"],
    )
    for way in (Way.FUNCTION_EXIT, Way.TRACEPOINT):
        forced = make_plan(facts, Config(way=way.value))
        assert [omission.what for omission in forced.omissions] == PARTS
        assert "nfszbx_missed_runs_total" in forced.omissions[0].reason


@pytest.mark.parametrize("mode", PREEMPTED)
def test_kprobes_lose_connections_there_with_an_old_bpftrace(mode: Preemption) -> None:
    """They lose the least still, and stay the first choice."""
    facts = recorded("debian13-6.12")
    old = dataclasses.replace(facts.bpftrace, version=(0, 18, 0))
    plan = make_plan(dataclasses.replace(facts, preemption=mode, bpftrace=old), Config())
    assert [choice.chosen.way for choice in plan.choices if choice.chosen] == [Way.KPROBE] * 2
    assert [omission.what for omission in plan.omissions] == PARTS
    assert "nfszbx_missed_runs_total" in plan.omissions[0].reason
    assert {omission.remedy for omission in plan.omissions} == {"install bpftrace 0.19 or later"}


def test_inlined_function_moves_only_its_own_direction() -> None:
    facts = recorded("debian13-6.12")
    traceable = {**facts.traceable, "tcp_sendmsg_locked": absent("inlined")}
    facts = dataclasses.replace(facts, traceable=traceable)
    ways = {
        direction: way and way[0] for direction, way in chosen(make_plan(facts, Config())).items()
    }
    assert ways == {Direction.RECEIVE: Way.FUNCTION_EXIT, Direction.TRANSMIT: Way.KPROBE}


def test_tracepoint_is_not_chosen_where_it_misses_pages_and_said_when_forced() -> None:
    """A 6.4 kernel: the tracepoints are there, and tcp_sendpage still is, too."""
    facts = recorded("debian12-6.1")
    facts = dataclasses.replace(facts, tracepoints=dict.fromkeys(facts.tracepoints, PRESENT))
    assert chosen(make_plan(facts, Config()))[Direction.TRANSMIT] is not None
    forced = make_plan(facts, Config(way="tracepoint"))
    assert chosen(forced)[Direction.TRANSMIT] == (Way.TRACEPOINT, False, ["sock_send_length"])
    (omission,) = forced.omissions
    assert omission.what == "a part of the transmitted bytes"
    assert "tcp_sendpage" in omission.reason


def test_what_is_known_to_work_comes_before_what_may_work() -> None:
    facts = dataclasses.replace(recorded("debian13-6.12"), function_exit=unknown("no answer"))
    assert chosen(make_plan(facts, Config()))[Direction.RECEIVE] == (
        Way.KPROBE,
        True,
        ["tcp_cleanup_rbuf"],
    )


def test_what_may_work_comes_before_nothing() -> None:
    facts = recorded("no-kprobes-6.18")
    tracepoints = {**facts.tracepoints, "sock:sock_recv_length": unknown("cannot look")}
    choice = make_plan(dataclasses.replace(facts, tracepoints=tracepoints), Config()).choices[0]
    assert choice.chosen
    assert choice.chosen.way is Way.TRACEPOINT


def test_direction_without_a_way_is_an_omission_with_every_reason() -> None:
    facts = recorded("no-kprobes-6.18")
    tracepoints = {**facts.tracepoints, "sock:sock_send_length": absent("not in this kernel")}
    plan = make_plan(dataclasses.replace(facts, tracepoints=tracepoints), Config())
    assert plan.measured_directions == (Direction.RECEIVE,)
    omission = plan.omissions[-1]
    assert omission.what == "transmitted bytes"
    for reason in ("CONFIG_KPROBE_EVENTS", "fentry/fexit", "not in this kernel"):
        assert reason in omission.reason


def test_transports_beside_tcp_are_counted_when_nfsd_listens_there() -> None:
    quiet = recorded("debian11-5.10")
    assert not make_plan(quiet, Config()).rpc_hooks
    facts = dataclasses.replace(quiet, other_nfsd_transports=("rdma 20049", "udp 2049"))
    plan = make_plan(facts, Config())
    assert plan.rpc_transports == (Transport.UDP, Transport.RDMA)
    assert [hook.placed_on for hook in plan.rpc_hooks] == ["svc_process", "svc_send"]
    assert not plan.omissions
    assert {slot.transport for slot in plan.measured_slots} == set(Transport)


def test_rpc_hooks_that_do_not_work_are_left_out_and_said() -> None:
    quiet = recorded("debian12-6.1")
    listening = dataclasses.replace(quiet, other_nfsd_transports=("rdma 20049",))
    plan = leave_out_rpc(make_plan(listening, Config()))
    assert render_script(plan) == render_script(make_plan(quiet, Config()))
    (omission,) = plan.omissions
    assert omission.what == "NFS over rdma"
    assert {slot.transport for slot in plan.measured_slots} == {Transport.TCP}


@pytest.mark.parametrize(
    ("machine", "listener", "reason"),
    [
        ("no-kprobes-6.18", "rdma 20049", "CONFIG_KPROBE_EVENTS"),
        ("debian13-6.12", "tofu 2049", "not known how to count it"),
    ],
)
def test_transports_that_cannot_be_counted_are_omissions(
    machine: str, listener: str, reason: str
) -> None:
    facts = dataclasses.replace(recorded(machine), other_nfsd_transports=(listener,))
    plan = make_plan(facts, Config())
    omission = plan.omissions[-1]
    assert omission.what == f"NFS over {listener}"
    assert reason in omission.reason
    assert {slot.transport for slot in plan.measured_slots} == {Transport.TCP}


def test_service_that_is_off_is_not_counted_over_any_transport() -> None:
    off = Config.model_validate({"services": {"nfsd": {"enabled": False}}})
    facts = dataclasses.replace(recorded("debian13-6.12"), other_nfsd_transports=("udp 2049",))
    plan = make_plan(facts, off)
    assert not plan.rpc_hooks
    assert not plan.omissions


def test_audit_groups_services_by_the_ports_they_share() -> None:
    facts = recorded("debian13-6.12")
    smb = PortGroup((Service.SMBD, Service.KSMBD), (139, 445))
    assert make_plan(facts, Config()).audited == (PortGroup((Service.NFSD,), (2049,)), smb)
    assert make_plan(facts, Config(audit_interval_seconds=0)).audited == ()
    any_port = Config.model_validate({"services": {"smbd": {"any_port": True}}})
    assert make_plan(facts, any_port).audited == (PortGroup((Service.NFSD,), (2049,)),)


OLD = BpftraceFacts(PRESENT, "/usr/bin/bpftrace", (0, 14, 0))


@pytest.mark.parametrize(
    ("change", "error", "message", "hint"),
    [
        ({"privilege": absent("not root")}, PrivilegeError, "not root", "as root"),
        (
            {"bpftrace": BpftraceFacts(absent("bpftrace is not installed"))},
            BpftraceError,
            "not installed",
            "apt-get install bpftrace",
        ),
        ({"bpftrace": OLD}, BpftraceError, "0.14.0, too old: 0.17.0", "newer"),
        ({"tracefs": absent("not mounted")}, KernelError, "not mounted", "mount -t tracefs"),
        ({"kernel_memory": absent("lockdown")}, KernelError, "lockdown", "lockdown=integrity"),
        ({"btf": absent("no BTF")}, KernelError, "no BTF", "CONFIG_DEBUG_INFO_BTF"),
    ],
)
def test_obstacles(
    change: dict[str, object], error: type[Exception], message: str, hint: str
) -> None:
    facts = dataclasses.replace(recorded("debian13-6.12"), **change)  # type: ignore[arg-type]
    (obstacle,) = make_plan(facts, Config()).obstacles
    raised = obstacle.as_error()
    assert type(raised) is error
    assert message in str(raised)
    assert hint in raised.hint


def test_kernel_without_any_way_is_an_obstacle() -> None:
    facts = recorded("no-kprobes-6.18")
    facts = dataclasses.replace(
        facts, tracepoints=dict.fromkeys(facts.tracepoints, absent("not in this kernel"))
    )
    (obstacle,) = make_plan(facts, Config()).obstacles
    assert "offers no way of counting" in obstacle.problem


def test_forced_way_that_is_missing_is_an_obstacle_that_names_the_setting() -> None:
    (obstacle,) = make_plan(recorded("no-kprobes-6.18"), Config(way="kprobe")).obstacles
    assert "the way kprobe is not possible: the kernel was built without" in obstacle.problem
    assert obstacle.remedy == "set way to auto"


def test_program_that_the_user_named_is_not_to_be_installed() -> None:
    missing = BpftraceFacts(absent("/opt/bpftrace cannot be run"), "/opt/bpftrace")
    facts = dataclasses.replace(recorded("debian13-6.12"), bpftrace=missing)
    (obstacle,) = make_plan(facts, Config(bpftrace="/opt/bpftrace")).obstacles
    assert obstacle.remedy == "mend the setting bpftrace"

"""How NFS operations are counted on recorded kernels, and what is left out there."""

from dataclasses import replace
from pathlib import Path

import pytest

from nfszbx.config import Config
from nfszbx.kernel.facts import (
    PRESENT,
    KernelFacts,
    Preemption,
    absent,
    facts_from_json,
    missing_layout,
)
from nfszbx.operations.plan import OperationsPlan, make_operations_plan
from nfszbx.operations.script import render_operations_script

FACTS = Path(__file__).parents[2] / "fixtures" / "facts"


def recorded(name: str) -> KernelFacts:
    return facts_from_json((FACTS / f"{name}.json").read_text(), name)


def plan(facts: KernelFacts, **operations: object) -> OperationsPlan:
    return make_operations_plan(facts, Config.model_validate({"operations": operations}))


def left_out(plan: OperationsPlan) -> list[str]:
    return [omission.what for omission in plan.omissions]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("debian13-6.12", []),
        ("debian12-6.1", []),
        ("debian-unstable-7.2", ["a part of the NFS operations"]),
        (
            "debian11-5.10",
            ["NFS operations, if nfsd of this kernel is not that of 5.10.220 or later"],
        ),
        ("no-kprobes-6.18", ["NFS operations"]),
    ],
)
def test_recorded_kernels(name: str, expected: list[str]) -> None:
    made = plan(recorded(name))
    assert left_out(made) == expected
    assert bool(made.hooks) == (name != "no-kprobes-6.18")
    assert all(omission.reason and omission.remedy for omission in made.omissions)


def test_nothing_while_nfsd_does_not_run() -> None:
    made = plan(replace(recorded("debian13-6.12"), nfsd_threads=0))
    assert not made.hooks
    assert made.omissions[0].reason == "nfsd does not run"


def test_nothing_when_switched_off() -> None:
    facts = recorded("debian13-6.12")
    assert not plan(facts, enabled=False).hooks
    without = Config.model_validate({"services": {"nfsd": {"enabled": False}}})
    assert not make_operations_plan(facts, without).hooks


def test_missing_hook_loses_its_metric_alone() -> None:
    facts = recorded("debian13-6.12")
    gone = {**facts.tracepoints, "nfsd:nfsd_compound_status": absent("not in this kernel")}
    made = plan(replace(facts, tracepoints=gone))
    assert left_out(made)[0] == "operations of NFSv4"
    assert "operations_procedure" in [hook.fragment for hook in made.hooks]
    assert "operations_compound" not in [hook.fragment for hook in made.hooks]


@pytest.mark.parametrize("name", ["svc_data_ready", "svc_xprt_enqueue", "svc_process"])
def test_wait_needs_all_of_its_hooks(name: str) -> None:
    facts = recorded("debian13-6.12")
    assert plan(facts).has_waits
    made = plan(replace(facts, symbols={**facts.symbols, name: absent("inlined")}))
    assert not made.has_waits
    (omission,) = made.omissions
    assert (omission.what, omission.reason) == ("wait for a free thread of nfsd", "inlined")
    assert omission.remedy == "use a newer kernel"


def test_wait_is_not_told_over_rdma() -> None:
    facts = replace(recorded("debian13-6.12"), other_nfsd_transports=("rdma 20049", "udp 2049"))
    assert plan(facts).has_waits
    assert left_out(plan(facts)) == ["wait for a free thread of nfsd, over RDMA"]


def without_member(facts: KernelFacts, name: str) -> KernelFacts:
    offsets = {k: v for k, v in facts.nfs_layout.offsets.items() if k != name}
    missing = {**facts.nfs_layout.missing, name: absent("no member")}
    return replace(facts, nfs_layout=replace(facts.nfs_layout, offsets=offsets, missing=missing))


def test_missing_member_loses_its_label_alone() -> None:
    made = plan(without_member(recorded("debian13-6.12"), "rq_uid"), labels=["client", "user"])
    assert made.labels == {"client"}
    assert left_out(made) == ["the user of NFS operations"]


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("op_cp_bytes", ["bytes of COPY"]),
        ("res_opcnt", ["bytes read by NFS operations", "bytes written by NFS operations"]),
        ("fh_maxsize", []),
    ],
)
def test_missing_member_loses_only_what_is_read_there(name: str, lost: list[str]) -> None:
    facts = recorded("debian13-6.12")
    made = plan(without_member(facts, name))
    assert left_out(made) == lost
    assert f"/* {name} */" not in render_operations_script(made).text


def test_without_kprobes_functions_are_traced() -> None:
    facts = recorded("debian13-6.12")
    without = replace(facts, kprobes=absent("built without"))
    hooks = {hook.fragment: hook for hook in plan(without).hooks}
    assert hooks["operations_procedure"].placed_on == "kfunc:nfsd:nfsd_cache_update"
    assumed = replace(without, nfs_layout=replace(facts.nfs_layout, is_assumed=True))
    remedies = {omission.what: omission.remedy for omission in plan(assumed).omissions}
    assert remedies["procedures of NFSv2 and NFSv3"] == "use a kernel with kprobes"
    assert remedies["wait for a free thread of nfsd"] == "use a kernel with kprobes"


def test_layout_that_nobody_knows() -> None:
    facts = replace(recorded("debian13-6.12"), nfs_layout=missing_layout(absent("no BTF")))
    made = plan(facts)
    assert not made.hooks
    assert "operations of NFSv4" in left_out(made)


def test_preemptible_kernel_says_what_it_loses() -> None:
    facts = replace(recorded("debian13-6.12"), preemption=Preemption.FULL)
    assert left_out(plan(facts))[-1] == "a part of the NFS operations"


def test_dumps_come_no_more_often_than_they_are_told() -> None:
    facts = recorded("debian13-6.12")
    seconds = {"interval_seconds": 30, "operations": {"interval_seconds": 20}}
    made = make_operations_plan(facts, Config.model_validate(seconds))
    assert made.interval_seconds == 30
    assert plan(facts, interval_seconds=20).interval_seconds == 20


def test_maps_begin_small() -> None:
    facts = recorded("debian13-6.12")
    sizes = [
        (made.map_max_entries, made.map_limit)
        for made in (plan(facts), plan(facts, map_max_entries=2000))
    ]
    assert sizes == [(32_768, 131_072), (2000, 2000)]


def test_latency_by_client_is_a_setting() -> None:
    facts = recorded("debian13-6.12")
    assert plan(facts).has_latency
    assert not plan(facts).latency_by_client
    assert plan(facts, latency_by_client=True).latency_by_client
    assert not plan(facts, latency_by_client=True, labels=["export"]).latency_by_client
    assert plan(facts).labels == {"client", "export", "operation"}
    assert facts.symbols["nfsd_cache_update"] == PRESENT

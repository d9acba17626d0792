"""The generated script: golden files for each way, the same bytes every time."""

import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from nfszbx.config import Config, Way
from nfszbx.kernel.facts import KernelFacts, facts_from_json
from nfszbx.plan import Plan, make_plan
from nfszbx.script import render_script

TESTS = Path(__file__).parents[1]
ANY_PORT = {"services": {"smbd": {"any_port": True, "task_names": ["smbd", "smbd[10.0.0.7]"]}}}


def recorded(name: str) -> KernelFacts:
    path = TESTS / "fixtures" / "facts" / f"{name}.json"
    return facts_from_json(path.read_text(), name)


def plan(name: str, settings: Mapping[str, object]) -> Plan:
    return make_plan(recorded(name), Config.model_validate(settings))


@pytest.mark.parametrize(
    ("golden", "facts", "settings"),
    [
        ("function_exit-6.1", "debian12-6.1", {}),
        ("function_exit-6.12", "debian13-6.12", {}),
        ("kprobe-6.1", "debian12-6.1", {"way": Way.KPROBE}),
        ("kprobe-7.2", "debian-unstable-7.2", {"way": Way.KPROBE}),
        ("tracepoint-6.18", "no-kprobes-6.18", {}),
        ("kprobe-5.10", "debian11-5.10", {}),
        ("any_port-6.12", "debian13-6.12", {"way": Way.KPROBE, "interval_seconds": 60, **ANY_PORT}),
    ],
)
def test_golden(golden: str, facts: str, settings: Mapping[str, object]) -> None:
    """``TESTS_ACCEPT=1`` writes the files anew; read the difference before committing it."""
    text = render_script(plan(facts, settings)).text
    path = TESTS / "golden" / f"{golden}.bt"
    if os.environ.get("TESTS_ACCEPT"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_order_of_the_configuration_does_not_matter() -> None:
    forth = {"services": {"smbd": {"ports": [445, 139], "task_names": ["a", "b"]}}}
    back = {"services": {"smbd": {"ports": [139, 445, 139], "task_names": ["b", "a"]}}}
    name = "debian13-6.12"
    assert render_script(plan(name, forth)).text == render_script(plan(name, back)).text


def test_one_service_alone_needs_no_task_name() -> None:
    settings = {"services": {"ksmbd": {"enabled": False}}}
    assert "strncmp" not in render_script(plan("debian13-6.12", settings)).text


def test_clients_are_counted_before_totals_and_printed_after_them() -> None:
    """Otherwise a reading could find more in the totals than the clients explain."""
    text = render_script(plan("debian13-6.12", {})).text
    counted = re.findall(r"@(client|total)_bytes\[.*= sum", text)
    printed = re.findall(r"print\(@(client|total)_bytes\)", text)
    assert counted == ["client", "total"] * 2
    assert printed == ["total", "client"] * 2


def test_big_endian_machine_gets_its_own_address_halves() -> None:
    little = plan("debian13-6.12", {})
    text = render_script(dataclasses.replace(little, byte_order="big")).text
    assert "$low = 0xffff00000000 | (uint64)$ipv4;" in text
    assert "if (($ipv4 == 0x7f000006 || " in text
    assert "$high = ((uint64)$word[0] << 32) | (uint64)$word[1];" in text
    assert "$low = ((uint64)$word[2] << 32) | (uint64)$word[3];" in text


@pytest.mark.parametrize(
    ("facts", "name"),
    [("debian12-6.1", "BPFTRACE_MAP_KEYS_MAX"), ("debian13-6.12", "BPFTRACE_MAX_MAP_KEYS")],
)
def test_map_size_by_the_name_that_the_version_knows(facts: str, name: str) -> None:
    assert render_script(plan(facts, {"map_max_entries": 2000})).environment == {name: "2000"}


def test_nothing_to_count_has_no_script() -> None:
    empty = dataclasses.replace(plan("debian13-6.12", {}), choices=())
    with pytest.raises(ValueError, match="nothing to count"):
        render_script(empty)


def test_rpc_messages_beside_tcp() -> None:
    """The same probes whichever of the transports is there, on either byte order."""
    facts = recorded("debian11-5.10")
    plans = [
        make_plan(dataclasses.replace(facts, other_nfsd_transports=listeners), Config())
        for listeners in (("udp 2049",), ("rdma 20049", "udp 2049"))
    ]
    one, both = (render_script(plan).text for plan in plans)
    assert one == both
    path = TESTS / "golden" / "rpc-5.10.bt"
    if os.environ.get("TESTS_ACCEPT"):
        path.write_text(both, encoding="utf-8")
    assert both == path.read_text(encoding="utf-8")
    big = render_script(dataclasses.replace(plans[1], byte_order="big")).text
    assert "if (*$server == 0x6e667364) {" in big
    assert "if (($start >> 48) == 10) {" in big
    assert "$low = 0xffff00000000 | ($start & 0xffffffff);" in big


def test_bpftrace_that_does_not_find_the_types_is_told_where_they_are() -> None:
    environment = render_script(plan("debian11-5.10", {})).environment
    assert environment["BPFTRACE_BTF"] == "/sys/kernel/btf/vmlinux"
    assert "BPFTRACE_BTF" not in render_script(plan("debian12-6.1", {})).environment


def test_closed_connections_are_kept_for_the_audit_only() -> None:
    assert "inet_sock_set_state" in render_script(plan("debian13-6.12", {})).text
    without = render_script(plan("debian13-6.12", {"audit_interval_seconds": 0})).text
    assert "inet_sock_set_state" not in without
    assert "closed_bytes" not in without

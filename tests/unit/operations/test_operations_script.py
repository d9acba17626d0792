"""The script of NFS operations: golden files, the same bytes every time."""

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from nfszbx.config import Config
from nfszbx.kernel.facts import facts_from_json
from nfszbx.operations.plan import OperationsPlan, make_operations_plan
from nfszbx.operations.script import render_operations_script

TESTS = Path(__file__).parents[2]


def plan(name: str, **operations: object) -> OperationsPlan:
    text = (TESTS / "fixtures" / "facts" / f"{name}.json").read_text()
    config = Config.model_validate({"interval_seconds": 1, "operations": operations})
    return make_operations_plan(facts_from_json(text, name), config)


@pytest.mark.parametrize(
    ("golden", "facts", "settings"),
    [
        ("operations-5.10", "debian11-5.10", {}),
        ("operations-6.1", "debian12-6.1", {}),
        ("operations-6.12", "debian13-6.12", {}),
        ("operations-7.2", "debian-unstable-7.2", {}),
        ("operations_none-6.12", "debian13-6.12", {"labels": []}),
        (
            "operations_all-7.2",
            "debian-unstable-7.2",
            {
                "labels": ["client", "export", "operation", "user"],
                "latency_by_client": True,
                "interval_seconds": 5,
            },
        ),
    ],
)
def test_golden(golden: str, facts: str, settings: dict[str, object]) -> None:
    """``TESTS_ACCEPT=1`` writes the files anew; read the difference before committing it."""
    text = render_operations_script(plan(facts, **settings)).text
    path = TESTS / "golden" / f"{golden}.bt"
    if os.environ.get("TESTS_ACCEPT"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_offsets_are_those_of_the_machine() -> None:
    made = plan("debian-unstable-7.2")
    found = re.findall(r"(\d+) /\* (\w+) \*/", render_operations_script(made).text)
    assert len(found) > 40
    assert all(made.layout.offsets[name] == int(number) for number, name in found)


def test_big_endian_machine_has_the_status_as_it_is() -> None:
    little = plan("debian12-6.1")
    assert "$status & 0xff00" in render_operations_script(little).text
    text = render_operations_script(replace(little, byte_order="big")).text
    assert "$status & 0xff00" not in text
    assert "$low = 0xffff00000000 | ($start & 0xffffffff);" in text


def test_every_map_is_printed_and_cleared_requests_first() -> None:
    text = render_operations_script(plan("debian-unstable-7.2")).text
    used = set(re.findall(r"(@\w+)(?:\[.*)?\s+= (?:count|sum|stats)\(", text))
    assert set(re.findall(r"print\((@\w+)\)", text)) == used
    assert set(re.findall(r"clear\((@\w+)\)", text)) == used | {"@queued", "@taken"}
    assert re.findall(r"print\((@\w+)\)", text)[0] == "@requests"


def test_time_asleep_is_taken_off_where_bpftrace_has_no_other_clock() -> None:
    old = render_operations_script(plan("debian12-6.1")).text
    assert "nsecs - @behind_ns" in old
    assert "clear(@behind_ns)" in old
    assert "@behind_ns" not in render_operations_script(plan("debian13-6.12")).text


def test_function_trace_takes_its_argument_by_name() -> None:
    made = plan("debian13-6.12")
    (hook,) = [hook for hook in made.hooks if hook.fragment == "operations_procedure"]
    traced = replace(made, hooks=(replace(hook, placed_on="kfunc:nfsd:nfsd_cache_update"),))
    text = render_operations_script(traced).text
    assert "kfunc:nfsd:nfsd_cache_update\n{\n  $rqstp = (uint64)args->rqstp;" in text


def test_nothing_to_count_has_no_script() -> None:
    with pytest.raises(ValueError, match="nothing to count"):
        render_operations_script(plan("no-kprobes-6.18"))

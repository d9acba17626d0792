"""The bpftrace of this machine takes the generated scripts, as far as its kernel lets it."""

import dataclasses
import re
import subprocess
from pathlib import Path

import pytest

from nfszbx.config import Config, Way
from nfszbx.fragments import FRAGMENT_DIRECTORY
from nfszbx.kernel.facts import FUNCTIONS, PRESENT, SYMBOLS, TRACEPOINTS, KernelFacts
from nfszbx.kernel.read import read_facts
from nfszbx.plan import make_plan
from nfszbx.script import render_script


@pytest.fixture(scope="module")
def facts() -> KernelFacts:
    return read_facts()


def compile_script(path: Path, facts: KernelFacts) -> str:
    """What bpftrace objects to, after parsing, type checks and code generation; nothing attached.

    Up to 0.21 the debug mode stops before attaching; ``--dry-run`` came with 0.22.
    """
    option = "-d" if facts.bpftrace.version < (0, 22, 0) else "--dry-run"
    result = subprocess.run(
        [facts.bpftrace.path, option, str(path)], capture_output=True, text=True, check=False
    )
    errors = [line for line in result.stderr.splitlines() if "ERROR" in line]
    return "\n".join(line for line in errors if "RLIMIT_MEMLOCK" not in line)


def everything_present(facts: KernelFacts) -> KernelFacts:
    """The facts of a kernel like this one, but with every hook there is (6.4 and before)."""
    return dataclasses.replace(
        facts,
        kprobes=PRESENT,
        function_exit=PRESENT,
        symbols=dict.fromkeys(SYMBOLS, PRESENT),
        traceable=dict.fromkeys(FUNCTIONS, PRESENT),
        tracepoints=dict.fromkeys(TRACEPOINTS, PRESENT),
    )


@pytest.mark.parametrize("way", list(Way))
def test_script_of_each_way(way: Way, facts: KernelFacts, tmp_path: Path) -> None:
    """Compiled where the kernel allows; a kernel without function exit is named by bpftrace."""
    path = tmp_path / "script.bt"
    any_port = {"services": {"smbd": {"any_port": True}}}
    config = Config.model_validate({"way": way, **any_port})
    available = make_plan(facts, config)
    plan = available if len(available.measured_directions) == 2 else None
    path.write_text(render_script(plan or make_plan(everything_present(facts), config)).text)
    objections = compile_script(path, facts)
    if way is Way.FUNCTION_EXIT and plan is None:
        # Without trampolines bpftrace cannot even look the functions up; it must be only that.
        assert objections
        for line in objections.splitlines():
            assert "kfunc" in line or "fentry" in line
    else:
        assert objections == ""


@pytest.mark.parametrize("path", sorted(FRAGMENT_DIRECTORY.glob("*.bt")), ids=lambda p: p.stem)
def test_fragment_by_itself(path: Path, facts: KernelFacts) -> None:
    """Every fragment is valid bpftrace as it stands in the folder."""
    objections = compile_script(path, facts)
    if path.stem.endswith(Way.FUNCTION_EXIT) and not facts.function_exit.is_present:
        assert "kfunc" in objections or "fentry" in objections
    elif path.stem.endswith("_rpc") and not facts.rpc_types.is_present:
        assert "Unknown struct/union: 'struct svc_rqst'" in objections  # the VM matrix has it
    elif missing := [name for name in find_tracepoints(path) if is_missing(name, facts)]:
        assert all(f"tracepoint not found: {name}" in objections for name in missing)
    else:
        assert objections == ""


def find_tracepoints(path: Path) -> list[str]:
    """Those that a fragment names, without raw ones."""
    return re.findall(r"^tracepoint:(\S+)$", path.read_text(), re.MULTILINE)


def is_missing(name: str, facts: KernelFacts) -> bool:
    """Is it of a module that is not loaded here?"""
    return facts.tracepoints[name].is_absent

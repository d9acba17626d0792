"""What the script of NFS operations takes for a wait, of a queue that a test program acts out.

The probes stand on the program's functions, and the thread is an argument; all else is the script
as it is.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from nfszbx.config import Config
from nfszbx.kernel.bpftrace import read_bpftrace
from nfszbx.kernel.facts import facts_from_json
from nfszbx.operations.plan import WAIT, make_operations_plan
from nfszbx.operations.script import render_operations_script
from tests.live.test_operations_script import FACTS, compile_program, run_script

pytestmark = pytest.mark.live

PROGRAM = Path(__file__).parent / "fake_queue.c"
FUNCTIONS = {
    "kprobe:svc_xprt_enqueue": "enqueue",
    "kprobe:svc_data_ready": "data_ready",
    "tracepoint:sunrpc:svc_xprt_dequeue": "dequeue",
    "kprobe:svc_process": "process",
}
WAITS_MILLISECONDS = (100, 50, 50, 50)
LATE_MILLISECONDS = 40
"""Of all waits together, at most."""


@pytest.mark.parametrize("name", ["debian11-5.10", "debian13-6.12", "debian-unstable-7.2"])
def test_waits_are_those_of_requests(name: str, tmp_path: Path) -> None:
    facts = facts_from_json((FACTS / f"{name}.json").read_text(), name)
    facts = replace(facts, bpftrace=read_bpftrace(None))
    plan = make_operations_plan(
        facts, Config.model_validate({"operations": {"interval_seconds": 1}})
    )
    hooks = tuple(hook for hook in plan.hooks if hook.fragment == WAIT)
    plan = replace(plan, hooks=hooks, raw_tracepoints=False, has_latency=False)
    program = compile_program(PROGRAM, plan.layout.offsets, tmp_path)
    text = render_operations_script(plan).text
    for probe, function in FUNCTIONS.items():
        assert f"\n{probe}\n" in text
        text = text.replace(probe, f"uprobe:{program}:{function}")
    text = text.replace("*(uint64 *)((uint64)curtask +", "*(uint64 *)(arg3 +", 1)
    # Maps that nothing is put into have no type, and cannot be printed.
    lines = [line for line in text.splitlines() if "(@requests)" not in line]
    text = "\n".join(line for line in lines if "(@moved)" not in line)
    maps = dict(run_script(text, program, tmp_path))
    waits = maps["@waits"].values()
    assert sum(each["count"] for each in waits) == len(WAITS_MILLISECONDS)
    waited = sum(each["total"] for each in waits) / 1e6
    assert sum(WAITS_MILLISECONDS) <= waited <= sum(WAITS_MILLISECONDS) + LATE_MILLISECONDS

"""What the script of NFS operations makes of requests whose memory is laid out by a test program.

The program has no thread of the kernel and its memory is its own, so the probes stand on its
functions, and the thread is an argument; all else is the script as it is.
"""

import json
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from nfszbx.config import Config
from nfszbx.kernel.bpftrace import read_bpftrace
from nfszbx.kernel.facts import facts_from_json
from nfszbx.operations.plan import OperationsPlan, make_operations_plan
from nfszbx.operations.script import render_operations_script
from nfszbx.successor import FULL_CYCLE_DUMPS

pytestmark = pytest.mark.live

FACTS = Path(__file__).parents[1] / "fixtures" / "facts"
PROGRAM = Path(__file__).parent / "fake_nfsd.c"
LABELS = ["client", "export", "operation", "user"]

SEQUENCE, PUTROOTFH, PUTFH, ACCESS, GETATTR, LOOKUP = 53, 24, 22, 3, 9, 15
READ, WRITE, COMMIT, COPY, READ_PLUS, ILLEGAL = 25, 38, 5, 60, 68, 10044
ACCES, NOENT, STALE = 13, 2, 70
MOUNT, DIRECTORY, USER = 101, 4711, 1000
FIRST_CLIENT, CLIENT = IPv6Address("::ffff:192.0.2.7"), IPv6Address("2001:db8::7")


class Request(NamedTuple):
    """A key of ``@requests``, taken apart."""

    version: str
    chunk: int
    kind: int
    status: int
    shape: tuple[int, ...]
    client: IPv6Address
    export: tuple[int, int]


NOWHERE, ROOT, FOLDER = (0, 0), (MOUNT, 0), (MOUNT, DIRECTORY)
REQUESTS = {
    Request("4.1", 0, 0, 0, (SEQUENCE, PUTROOTFH, READ, GETATTR), FIRST_CLIENT, NOWHERE),
    Request("4.0", 0, 0, ACCES, (PUTFH, GETATTR, READ), CLIENT, ROOT),
    Request("4.2", 0, 0, 0, (SEQUENCE, PUTFH, *[GETATTR] * 6), CLIENT, FOLDER),
    Request(
        *("4.2", 1, 0, 0),
        (GETATTR, GETATTR, WRITE, GETATTR, GETATTR, WRITE, GETATTR, GETATTR),
        CLIENT,
        FOLDER,
    ),
    Request("4.2", 2, 0, NOENT, (GETATTR, GETATTR, GETATTR, LOOKUP), CLIENT, FOLDER),
    Request("4.2", 0, 0, 0, (SEQUENCE, PUTFH, READ_PLUS, READ_PLUS), CLIENT, FOLDER),
    Request("4.2", 0, 0, 0, (SEQUENCE, PUTFH, COPY, COMMIT), CLIENT, FOLDER),
    Request("4.0", 0, 0, ILLEGAL, (188,), CLIENT, FOLDER),
    Request("4.0", 0, 0, 0, (PUTFH, ACCESS, *[GETATTR] * 6), CLIENT, FOLDER),
    Request("3.0", 0, 0, 0, (6,), CLIENT, FOLDER),
    Request("3.0", 0, 0, 0, (7,), CLIENT, FOLDER),
    Request("3.0", 0, 0, STALE, (7,), CLIENT, FOLDER),
    Request("3.0", 0, 0, 0, (19,), CLIENT, NOWHERE),
    Request("3.0", 0, 0, 0, (), CLIENT, NOWHERE),
    Request("3.0", 0, 4, 0, (1,), CLIENT, FOLDER),
    Request("4.0", 0, 0, 0, (), CLIENT, NOWHERE),
}
MOVED = {
    ("4.1", READ): 1000,
    ("4.2", WRITE): 2 * 77,
    ("4.2", READ_PLUS): 904,
    ("4.2", COPY): 5_000_000_000,
    ("3.0", 6): 300,
    ("3.0", 7): 300,
}
"""Nothing of what failed."""


@pytest.fixture(scope="module", params=["debian11-5.10", "debian13-6.12", "debian-unstable-7.2"])
def maps(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, int]]:
    """What was counted, by the offsets of a recorded kernel."""
    folder = tmp_path_factory.mktemp("operations")
    facts = facts_from_json((FACTS / f"{request.param}.json").read_text(), request.param)
    facts = replace(facts, bpftrace=read_bpftrace(None))
    settings = {"interval_seconds": 1, "operations": {"labels": LABELS, "interval_seconds": 1}}
    plan = make_operations_plan(facts, Config.model_validate(settings))
    here = ("operations_compound", "operations_procedure", "operations_moved")
    hooks = [hook for hook in plan.hooks if hook.fragment in here]
    plan = replace(plan, hooks=tuple(hooks), raw_tracepoints=False)
    program = compile_program(PROGRAM, plan.layout.offsets, folder)
    found = dict(run_script(place_on(plan, program), program, folder))
    times = {key: each["count"] for key, each in found["@times"].items()}
    counts = {name: found[name].items() for name in ("@requests", "@moved")}
    return {"@times": times} | {
        name: {key: int(value) for key, value in items} for name, items in counts.items()
    }


def compile_program(source: Path, layout: Mapping[str, int], folder: Path) -> Path:
    """The program, with the offsets of the layout as constants."""
    program = folder / source.stem
    offsets = [f"-D{name.upper()}={offset}" for name, offset in layout.items()]
    command = ["gcc", "-Wall", "-Werror", "-O1", "-o", str(program), str(source)]
    subprocess.run([*command, *offsets], check=True)
    return program


def place_on(plan: OperationsPlan, program: Path) -> str:
    """The script of a plan with its probes on the program's functions."""
    text = render_operations_script(plan).text
    assert "tracepoint:nfsd:nfsd_compound_status" in text
    text = text.replace("tracepoint:nfsd:nfsd_compound_status", f"uprobe:{program}:compound_status")
    text = text.replace("kprobe:nfsd_cache_update", f"uprobe:{program}:cache_update")
    for number, name in enumerate(("args_opcnt", "resp_opcnt", "status")):
        text = text.replace(f"args->{name}", f"(uint32)arg{number}")
    text = text.replace("*(uint64 *)((uint64)curtask +", "*(uint64 *)(arg3 +", 1)
    for name in ("read_io_done", "write_io_done"):
        text = text.replace(f"tracepoint:nfsd:nfsd_{name}", f"uprobe:{program}:{name}")
    text = text.replace("*(uint64 *)((uint64)curtask +", "*(uint64 *)(arg0 +")
    return text.replace("args->len", "arg3")


def run_script(text: str, program: Path, folder: Path) -> Iterator[tuple[str, Any]]:
    """Let the program run while the script counts; the maps of the last dump."""
    script = folder / "script.bt"
    script.write_text(text)
    errors = folder / "stderr"
    with (
        errors.open("wb") as said,
        subprocess.Popen(
            ["bpftrace", "-f", "json", str(script)], stdout=subprocess.PIPE, stderr=said, text=True
        ) as process,
    ):
        assert process.stdout is not None
        dumps = 0
        for line in process.stdout:
            dumps += "nfszbx end" in line
            if dumps == FULL_CYCLE_DUMPS:
                break
        subprocess.run([str(program)], check=True)
        process.send_signal(signal.SIGINT)
        for line in process.stdout:
            record = json.loads(line) if line.strip() else {}
            if record.get("type") in ("map", "stats"):
                yield from record["data"].items()
    assert process.returncode == 0, errors.read_text()


def split_key(text: str) -> list[int]:
    return [int(part) % (1 << 64) for part in re.split(", ?", text)]


def name_version(w: int) -> str:
    return f"{w >> 56}.{w >> 48 & 255}"


def name_client(high: int, low: int) -> IPv6Address:
    return IPv6Address(high.to_bytes(8, "little") + low.to_bytes(8, "little"))


def test_requests(maps: dict[str, dict[str, int]]) -> None:
    """Chunks of eight operations, the status in the last one, client and export."""
    found = {}
    for key, number in maps["@requests"].items():
        w, shape, high, low, mount, inode, user = split_key(key)
        status = int.from_bytes((w & 0xFFFFFFFF).to_bytes(4, "little"), "big")
        request = Request(
            *(name_version(w), w >> 40 & 255, w >> 32 & 255, status),
            tuple(shape.to_bytes(8, "big").lstrip(b"\0")),
            name_client(high, low),
            (mount, inode),
        )
        found[request] = number
        assert user == USER
    assert found == dict.fromkeys(REQUESTS, 1)


def test_bytes_really_moved(maps: dict[str, dict[str, int]]) -> None:
    found = {}
    for key, number in maps["@moved"].items():
        w, *_, user = split_key(key)
        found[name_version(w), w & 0xFFFF] = number
        assert user == USER
    assert found == MOVED


def test_time_is_booked_to_the_first_chunk(maps: dict[str, dict[str, int]]) -> None:
    """For each request that was carried out, whatever became of it, NFSACL aside."""
    expected = Counter((r.version, r.shape) for r in REQUESTS if r.chunk == 0 and r.kind == 0)
    found: Counter[tuple[str, tuple[int, ...]]] = Counter()
    for key, number in maps["@times"].items():
        w, shape = split_key(key)
        found[name_version(w), tuple(shape.to_bytes(8, "big").lstrip(b"\0"))] += number
    assert found == expected

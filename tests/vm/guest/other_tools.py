"""Other tools that count the same traffic, for the comparison in ``docs/accuracy.md``."""

import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.socket_counters import name_client
from tests.vm.guest.counting import FOLDER
from tests.vm.guest.servers import SERVICES
from tests.vm.guest.truth import Flow

SCRIPTS = Path("/src/benchmarks/other_tools")
START_TIMEOUT_SECONDS = 300.0
FRESH_SECONDS = 3.0
"""After that time, every tool has printed what had flowed before."""
KIBIBYTE = 1024

# None of them tells services apart; no measurement has two of them at once.
ANY_SERVICE = ""
_CUT = "// Up to kernel 6.4."


def start_other_tools() -> list[str]:
    """Start them all and wait until they count; the names of those that work here."""
    has_pages = " tcp_sendpage\n" in Path("/proc/kallsyms").read_text()
    processes: dict[str, tuple[subprocess.Popen[bytes], str]] = {}
    for path in sorted(SCRIPTS.glob("*.bt")):
        script = path.read_text()
        (FOLDER / path.name).write_text(script if has_pages else script.partition(_CUT)[0])
        command = ["bpftrace", "-f", "json", str(FOLDER / path.name)]
        processes[path.stem] = (_start(path.stem, command), "attached_probes")
    command = ["tcptop-bpfcc", "-C", "-S", "1"]
    processes["tcptop"] = (_start("tcptop", command), "Tracing...")
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    for name, (process, started) in processes.items():
        while process.poll() is None and started not in _output(name).read_text():
            if time.monotonic() > deadline:
                raise RuntimeError(f"{name} does not start")
            time.sleep(0.5)
    time.sleep(5.0)  # bpftrace up to 0.23 says that it has attached before it does
    for name, (process, _) in processes.items():
        if process.poll() is not None:
            _output(name).unlink()
    return [path.stem for path in sorted(FOLDER.glob("*.other"))]


def other_tools_run() -> bool:
    """Were they started?"""
    return any(FOLDER.glob("*.other"))


def read_other_counts() -> dict[str, Counter[Flow]]:
    """By tool, what it has counted up to now; empty where none was started."""
    return {
        path.stem: READERS[path.stem](path.read_text()) for path in sorted(FOLDER.glob("*.other"))
    }


def _output(name: str) -> Path:
    return FOLDER / f"{name}.other"


def _start(name: str, command: list[str]) -> "subprocess.Popen[bytes]":
    with _output(name).open("wb") as output, (FOLDER / f"{name}.errors").open("wb") as errors:
        return subprocess.Popen(
            command,
            stdout=output,
            stderr=errors,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **_name_types()},
            start_new_session=True,
        )


def _name_types() -> dict[str, str]:
    """Where modules have no types, bpftrace 0.17 must be told where the kernel's are."""
    names = [path.name for path in Path("/sys/kernel/btf").iterdir()]
    return {"BPFTRACE_BTF": "/sys/kernel/btf/vmlinux"} if names == ["vmlinux"] else {}


def _read_prints(text: str, *, cumulative: bool) -> Counter[Flow]:
    """What a script has printed of its maps: the last print of each, or the sum of all."""
    counts: Counter[Flow] = Counter()
    for line in text.splitlines():
        record = json.loads(line) if line.endswith("}") else {}
        if record.get("type") != "map":
            continue
        for name, values in record["data"].items():
            printed: Counter[Flow] = Counter()
            for address, value in values.items():  # an IPv4 client may have two of them
                flow = Flow(ANY_SERVICE, name_client(address), name.removeprefix("@"))
                printed[flow] += int(value)
            counts = Counter({**counts, **printed}) if cumulative else counts + printed
    return counts


def _read_tcptop(text: str) -> Counter[Flow]:
    """The sum over all rows of all prints, as the ends of connections that are a server's.

    ``PID COMM LADDR RADDR RX_KB TX_KB``; COMM may have spaces. RX_KB is what LADDR received.
    """
    counts: Counter[Flow] = Counter()
    for line in text.splitlines():
        words = line.split()
        if len(words) < 6 or not words[0].isdecimal():
            continue
        local, remote, received, sent = words[-4:]
        if int(local.rpartition(":")[2]) in SERVICES:
            client = name_client(remote.rpartition(":")[0])
            counts[Flow(ANY_SERVICE, client, "receive")] += int(received) * KIBIBYTE
            counts[Flow(ANY_SERVICE, client, "transmit")] += int(sent) * KIBIBYTE
    return counts


READERS: dict[str, Callable[[str], Counter[Flow]]] = {
    "article": lambda text: _read_prints(text, cumulative=False),
    "entry_by_name": lambda text: _read_prints(text, cumulative=True),
    "entry_by_port": lambda text: _read_prints(text, cumulative=True),
    "tcptop": _read_tcptop,
}

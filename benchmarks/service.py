"""What nfszbx itself takes, as it runs on a server: ``python -m benchmarks.service``, as root.

The real ``nfszbx run`` with Prometheus and Zabbix as sinks and default settings, but for the
interval. In bpftrace's place stands a program that prints the dumps of so many clients, each with
more bytes than in the one before; it is not counted. The clients have connections over loopback,
since nfszbx reads the kernel's counters of those as well. What both processes of nfszbx take is
read from ``/proc``: processor time over some intervals, and memory as ``Pss``, which counts what
they share once. Also how long it takes to the first interval, beside bpftrace alone.

Writes ``benchmarks/results/service.json``, from which ``benchmarks.performance`` makes tables.
"""

import json
import os
import platform
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Self, TypedDict

from benchmarks.bpf_statistics import Spread, make_spread
from nfszbx.kernel.read import read_facts
from nfszbx.plan import make_plan
from nfszbx.script import render_script
from nfszbx.settings import load_config
from tests.fake_zabbix import FakeServer, success
from tests.network import free_port

RESULTS = Path(__file__).parent / "results" / "service.json"
CLIENTS = (10, 100, 1_000, 10_000, 100_000)
MAX_CONNECTIONS = 19_000
"""The clients beyond have no connection any more."""
INTERVAL_SECONDS = 1
LONG_INTERVAL_SECONDS = 10
"""Where there are more clients than what a second is enough for."""
LEAST_INTERVALS = 5
MEASURED_SECONDS = 30
STARTS = 5
PORT = 20453
WAIT_SECONDS = 600.0
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")

_PLAIN_MODULES = (
    "json, logging, re, dataclasses, pathlib, tomllib, socket, threading, subprocess, sqlite3, "
    "typing, ipaddress, enum, pexpect"
)
_CHECKING_MODULES = "nfszbx.settings, typer"

_STAND_IN = """\
#!{python}
import os, sys, time
if "-f" not in sys.argv:
    os.execv({real!r}, [{real!r}, *sys.argv[1:]])


def mark(name):
    return '{{"type": "printf", "data": "nfszbx %s %d\\\\n"}}\\n' % (
        name, time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    )


def write(text):
    view = memoryview(text.encode())
    while view:
        view = view[os.write(1, view):]


def low(number):
    return int.from_bytes(
        b"\\0\\0\\xff\\xff\\x7f" + (number + 0x020000).to_bytes(3, "big"), "little", signed=True
    )


write(mark("begin"))
keys = ['"%d,0,%d": ' % (slot, low(number)) for slot in (3, 4) for number in range({clients})]
count, due = 0, time.monotonic()
while True:
    due += {interval_seconds}
    time.sleep(max(0, due - time.monotonic()))
    count += 65_536
    each = "%d, " % count
    totals = '"3": %d, "4": %d' % (({clients} * count,) * 2)
    now = mark("end")
    write('{{"type": "map", "data": {{"@total_bytes": {{' + totals + "}}}}}}\\n"
          '{{"type": "map", "data": {{"@client_bytes": {{'
          + each.join(keys) + "%d}}}}}}\\n" % count + now)
"""


class Result(TypedDict):
    """Of one number of clients."""

    clients: int
    interval_seconds: int
    intervals: int
    cpu_seconds: dict[str, float]
    """By process, for each interval."""
    memory_bytes: dict[str, int]
    """By process."""


class Starts(TypedDict):
    """Seconds to the first dump, and of ours to the first interval in Prometheus."""

    bpftrace: Spread
    nfszbx: Spread


def make_environment(folder: Path, zabbix: FakeServer, interval_seconds: int) -> dict[str, str]:
    """Settings for nfszbx."""
    return {
        **os.environ,
        "NFSZBX_STATE_DIRECTORY": str(folder / "state"),
        "NFSZBX_INTERVAL_SECONDS": str(interval_seconds),
        "NFSZBX_SINKS": '["prometheus", "zabbix"]',
        "NFSZBX_ZABBIX__SERVERS": f'["127.0.0.1:{zabbix.node.port}"]',
        "NFSZBX_SERVICES__SMBD__PORTS": f"[{PORT}]",
        "NFSZBX_SERVICES__KSMBD__ENABLED": "false",
    }


class Service:
    """A running nfszbx; a context manager."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._port = free_port()
        self._command = [sys.executable, "-m", "nfszbx", "run", "--prometheus-port"]
        self._environment = environment

    def __enter__(self) -> Self:
        command = [*self._command, str(self._port)]
        self._process = subprocess.Popen(command, env=self._environment)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)

    def list_processes(self) -> dict[str, int]:
        """By what they do."""
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task").glob("*/children")
        (sinks,) = [
            int(child)
            for path in children
            for child in path.read_text().split()
            if Path(f"/proc/{child}/comm").read_text().strip() == "nfszbx-sinks"
        ]
        return {"measuring": pid, "sinks": sinks}

    def wait_for_intervals(self, count: int) -> None:
        """Until so many have ended."""
        self.wait_for("nfszbx_intervals_total", count)

    def wait_for(self, metric: str, least: float) -> None:
        """Until it is at least so much."""
        deadline = time.monotonic() + WAIT_SECONDS
        while self._read(metric) < least:
            assert self._process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def _read(self, metric: str) -> float:
        """Zero where it is missing."""
        url = f"http://127.0.0.1:{self._port}/metrics"
        with suppress(OSError), urllib.request.urlopen(url, timeout=30) as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith(f"{metric} "):
                    return float(line.split()[1])
        return 0.0


def read_cpu_seconds(process: int) -> float:
    """Of a process, all its threads and those of its children that have ended: proc(5)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND


def read_memory_bytes(process: int, name: str = "Pss") -> int:
    """The proportional set size, or a part of it: pages that processes share count in parts."""
    text = Path(f"/proc/{process}/smaps_rollup").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith(f"{name}:")]
    return int(line.split()[1]) * 1024


@contextmanager
def connected(clients: int) -> Iterator[None]:
    """With a connection of each client, as far as there may be; the clients are a child process."""
    count = min(clients, MAX_CONNECTIONS)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", PORT), backlog=128))
        child = os.fork()
        if child == 0:
            listener.close()
            _connect(count)
            os._exit(0)
        stack.callback(os.waitpid, child, 0)
        stack.callback(os.kill, child, signal.SIGKILL)
        for _ in range(count):
            stack.enter_context(listener.accept()[0])
        yield


def _connect(count: int) -> None:
    """Until it is killed."""
    connections = []
    for number in range(count):
        address = socket.inet_ntoa(b"\x7f" + (number + 0x020000).to_bytes(3, "big"))
        source = (address, 0)
        connections.append(socket.create_connection(("127.0.0.1", PORT), source_address=source))
    signal.pause()


def measure(clients: int, interval_seconds: int) -> Result:
    """Over some intervals after the first ones."""
    zabbix = FakeServer(success(1, 0))
    with tempfile.TemporaryDirectory(dir="/tmp") as name, connected(clients):
        folder = Path(name)
        folder.chmod(0o711)
        environment = make_environment(folder, zabbix, interval_seconds)
        program = folder / "bpftrace"
        facts = read_facts()
        text = _STAND_IN.format(
            python=sys.executable,
            real=facts.bpftrace.path,
            clients=clients,
            interval_seconds=interval_seconds,
        )
        program.write_text(text)
        program.chmod(0o755)
        environment["NFSZBX_BPFTRACE"] = str(program)
        environment["NFSZBX_MAP_MAX_ENTRIES"] = str(max(8192, 4 * clients))
        intervals = max(LEAST_INTERVALS, MEASURED_SECONDS // interval_seconds)
        with Service(environment) as service:
            service.wait_for_intervals(LEAST_INTERVALS)
            processes = service.list_processes()
            before = {name: read_cpu_seconds(pid) for name, pid in processes.items()}
            time.sleep(intervals * interval_seconds)
            after = {name: read_cpu_seconds(pid) for name, pid in processes.items()}
            memory = {name: read_memory_bytes(pid) for name, pid in processes.items()}
    zabbix.close()
    return Result(
        clients=clients,
        interval_seconds=interval_seconds,
        intervals=intervals,
        cpu_seconds={name: (after[name] - before[name]) / intervals for name in processes},
        memory_bytes=memory,
    )


def measure_starts() -> Starts:
    """In turn, bpftrace with the script that nfszbx gives it, and nfszbx."""
    zabbix = FakeServer(success(1, 0))
    figures: dict[str, list[float]] = {"bpftrace": [], "nfszbx": []}
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o711)
        environment = make_environment(Path(name), zabbix, INTERVAL_SECONDS)
        facts = read_facts()
        script = render_script(make_plan(facts, load_config(None, environment, ())))
        path = Path(name) / "script.bt"
        path.write_text(script.text)
        for _ in range(STARTS):
            began = time.monotonic()
            command = [facts.bpftrace.path, "--no-warnings", "-f", "json", "-B", "line", str(path)]
            with subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env={**os.environ, **script.environment},
            ) as child:
                assert child.stdout
                while "nfszbx end" not in child.stdout.readline():
                    assert child.poll() is None
                figures["bpftrace"].append(time.monotonic() - began)
                child.terminate()
                child.stdout.read()
            began = time.monotonic()
            with Service(environment) as service:
                service.wait_for_intervals(1)
                figures["nfszbx"].append(time.monotonic() - began)
    zabbix.close()
    return Starts(bpftrace=make_spread(figures["bpftrace"]), nfszbx=make_spread(figures["nfszbx"]))


def measure_checks() -> int:
    """Bytes of memory that checking settings takes, beyond what the rest needs of Python."""
    sizes = []
    for modules in (_PLAIN_MODULES, f"{_PLAIN_MODULES}, {_CHECKING_MODULES}"):
        program = f"import {modules}; print('ready', flush=True); input()"
        with subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as child:
            assert child.stdout
            assert child.stdout.readline() == "ready\n"
            sizes.append(read_memory_bytes(child.pid))
            child.communicate("\n")
    return sizes[1] - sizes[0]


def main() -> None:
    """Measure, and write the results."""
    results = []
    for clients in CLIENTS:
        seconds = INTERVAL_SECONDS if clients <= 10_000 else LONG_INTERVAL_SECONDS
        results.append(measure(clients, seconds))
        print(results[-1], flush=True)
    starts = measure_starts()
    print(starts)
    about = {"kernel": platform.release().partition("-")[0], "python": platform.python_version()}
    about |= {"bpftrace": ".".join(map(str, read_facts().bpftrace.version))}
    document = {
        **about,
        "checks_bytes": measure_checks(),
        "starts": starts,
        "clients": results,
    }
    RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

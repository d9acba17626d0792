"""What each way of counting loses when threads preempt each other in the middle of the TCP calls.

    python -m benchmarks.preemption [SECONDS]

Needs root, bpftrace and a kernel with at least one of the ways. Eight pairs of processes exchange
messages of 300 bytes over loopback; the eight servers share one CPU, and every second one of them
has a real-time priority, so that it interrupts the others wherever they are. Each server knows what
TCP took from it and gave to it: that is the truth. The result is a table in Markdown. It is a
count, not a time: a missed call is missed however fast the machine is.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from nfszbx.child.missed_runs import read_missed_runs
from nfszbx.config import Config, Way
from nfszbx.dump import Dump, DumpReader
from nfszbx.kernel.read import read_facts
from nfszbx.plan import make_plan
from nfszbx.script import render_script
from nfszbx.traffic import Direction

PORT = 20446
PAIRS = 8
MESSAGE_BYTES = 300
SETTLE_SECONDS = 2.5


def serve(connection: socket.socket, number: int, seconds: float) -> Counter[str]:
    """Exchange messages on CPU 0 for so long; the bytes of each direction."""
    os.sched_setaffinity(0, {0})
    if number % 2:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10 + number))
    truth: Counter[str] = Counter()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        connection.sendall(b"x" * MESSAGE_BYTES)
        truth[Direction.TRANSMIT] += MESSAGE_BYTES
        left = MESSAGE_BYTES
        while left:
            left -= len(connection.recv(left))
        truth[Direction.RECEIVE] += MESSAGE_BYTES
    return truth


def echo(number: int) -> None:
    """The other side: sends back what comes."""
    if number % 2 == 0:
        os.sched_setaffinity(0, {(os.cpu_count() or 1) - 1})
    with socket.create_connection(("127.0.0.1", PORT)) as connection:
        while message := connection.recv(MESSAGE_BYTES):
            connection.sendall(message)


def make_load(seconds: float) -> Counter[str]:
    """The truth, over all pairs. The connections are open until everything is counted."""
    with socket.create_server(("127.0.0.1", PORT), backlog=PAIRS) as listener:
        for number in range(PAIRS):
            if os.fork() == 0:
                echo(number)
                os._exit(0)
        connections = [listener.accept()[0] for _ in range(PAIRS)]
    reader, writer = os.pipe()
    for number, connection in enumerate(connections):
        if os.fork() == 0:
            truth = serve(connection, number, seconds)
            os.write(writer, json.dumps(truth).encode() + b"\n")
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as results:
        truth = sum((Counter(json.loads(line)) for line in results), Counter())
    for connection in connections:
        connection.shutdown(socket.SHUT_RDWR)
        connection.close()
    for _ in range(2 * PAIRS):
        os.wait()
    return truth


def measure(way: Way, seconds: float) -> str | None:
    """A row of the table, or None where the kernel lacks the way."""
    facts = read_facts()
    services = {"smbd": {"ports": [PORT]}, "ksmbd": {"enabled": False}, "nfsd": {"enabled": False}}
    config = Config.model_validate({"interval_seconds": 1, "way": way, "services": services})
    plan = make_plan(facts, config)
    if len(plan.measured_directions) < len(Direction):
        return None
    child = subprocess.Popen(
        [facts.bpftrace.path, "-f", "json", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert child.stdin
    assert child.stdout
    child.stdin.write(render_script(plan).text)
    child.stdin.close()
    reader = DumpReader(facts.byte_order)
    dumps: list[Dump] = []
    while not dumps:
        if isinstance(dump := reader.read_line(child.stdout.readline()), Dump):
            dumps.append(dump)
    truth = make_load(seconds)
    time.sleep(SETTLE_SECONDS)
    missed = read_missed_runs(child.pid)
    child.terminate()
    dumps += [d for line in child.stdout if isinstance(d := reader.read_line(line), Dump)]
    child.wait()
    counted = {slot.direction: count for slot, count in dumps[-1].total_bytes.items()}
    cells = [f"{truth[d]:,} | {counted.get(d, 0) - truth[d]:+,}" for d in Direction]
    return f"| {facts.release} | {facts.preemption} | {way} | {' | '.join(cells)} | {missed} |"


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    print("| kernel | preemption | way | received | error | sent | error | missed runs |")
    print("|---|---|---|---:|---:|---:|---:|---:|")
    for way in Way:
        row = measure(way, seconds)
        if row:
            print(row, flush=True)


if __name__ == "__main__":
    assert Path("/sys/kernel/tracing/events").is_dir(), "tracefs is not mounted"
    main()

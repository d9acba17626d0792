"""What the server feels: ``python -m benchmarks.impact``, as root.

A real smbd on loopback and a client with Samba's own library, in rounds. In each round the client
does the same work with nothing else beside it, with nfszbx, with the one-counter script, and with
nethogs, in turn and in another order each time. Throughput and the 99th percentile of single reads
are compared with those of the same round with nothing beside them; so is a second time with
nothing, which tells how much is chance. Writes ``benchmarks/results/impact.json``. Needs samba,
python3-samba and nethogs.
"""

import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from statistics import quantiles
from typing import TypedDict

from benchmarks.bpftraces import end, find_own_bpftrace, running
from benchmarks.kernel.contenders import make_one_counter
from benchmarks.service import Service
from nfszbx.script import Script
from tests.live.samba import SHARE, SambaServer

RESULTS = Path(__file__).parent / "results" / "impact.json"
CLIENT = Path(__file__).parent / "impact_client.py"
ROUNDS = 11
NOTHING, AGAIN = "nothing", "nothing, again"
NFSZBX, ONE_COUNTER, NETHOGS = "nfszbx", "one counter", "nethogs"
_SETTLE_SECONDS = 2.0


class Result(TypedDict):
    """By contender, a figure for each round."""

    kernel: str
    bpftrace: str
    bytes_per_second: dict[str, list[float]]
    p99_seconds: dict[str, list[float]]


@contextmanager
def nfszbx(folder: Path) -> Iterator[None]:
    """As it runs on a server, but with an interval of a second, so that there are some."""
    environment = {
        **os.environ,
        "NFSZBX_STATE_DIRECTORY": str(folder / "state"),
        "NFSZBX_SINKS": '["prometheus"]',
        "NFSZBX_INTERVAL_SECONDS": "1",
    }
    with Service(environment) as service:
        service.wait_for_intervals(3)
        yield


@contextmanager
def one_counter(folder: Path) -> Iterator[None]:
    """The script, with a print each second."""
    script = make_one_counter("smbd") + "interval:s:1 { print(@received); print(@sent); }\n"
    with running(find_own_bpftrace(), Script(script, {}), folder / "script.bt"):
        yield


def nethogs(server: SambaServer) -> Callable[[Path], AbstractContextManager[None]]:
    """It reads packets of a device, in the server's network namespace."""

    @contextmanager
    def run(folder: Path) -> Iterator[None]:
        with (folder / "nethogs").open("wb") as lines:
            command = server.command("nethogs", "-t", "-a", "-d", "1", "lo")
            child = subprocess.Popen(command, stdout=lines, stderr=subprocess.STDOUT)
        time.sleep(_SETTLE_SECONDS)
        assert child.poll() is None, (folder / "nethogs").read_text(errors="replace")
        try:
            yield
        finally:
            end(child)

    return run


@contextmanager
def nothing(folder: Path) -> Iterator[None]:
    """Nobody counts."""
    del folder
    yield


def work(server: SambaServer) -> tuple[float, float]:
    """Bytes a second, and the 99th percentile of single reads in seconds."""
    command = ["/usr/bin/python3", str(CLIENT), str(server.config), server.own_address, SHARE]
    answer = subprocess.run(
        server.command(*command), check=True, stdout=subprocess.PIPE, text=True, timeout=300
    )
    found = json.loads(answer.stdout)
    return found["bytes_per_second"], quantiles(found["reads"], n=100)[98]


def measure() -> Result:
    """All rounds."""
    luck = random.Random(1)  # noqa: S311  an order
    result = Result(
        kernel=platform.release().partition("-")[0],
        bpftrace=find_own_bpftrace().version,
        bytes_per_second={},
        p99_seconds={},
    )
    with SambaServer() as server, tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o711)
        contenders = {
            NOTHING: nothing,
            AGAIN: nothing,
            NFSZBX: nfszbx,
            ONE_COUNTER: one_counter,
            NETHOGS: nethogs(server),
        }
        work(server)  # what comes first is slower
        for number in range(ROUNDS):
            order = list(contenders)
            luck.shuffle(order)
            for each in order:
                with contenders[each](Path(name)):
                    throughput, p99 = work(server)
                result["bytes_per_second"].setdefault(each, []).append(throughput)
                result["p99_seconds"].setdefault(each, []).append(p99)
            print(f"round {number + 1} of {ROUNDS}", flush=True)
    return result


def main() -> None:
    """Measure, and write the results."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    RESULTS.write_text(json.dumps(measure(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

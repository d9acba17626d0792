"""Lets the same work be done beside one contender after the other, in rounds."""

import os
import platform
import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from statistics import quantiles
from typing import NamedTuple, TypedDict

from benchmarks.bpftraces import end, find_own_bpftrace, running
from benchmarks.service import Service
from nfszbx.script import Script

NOTHING, AGAIN = "nothing", "nothing, again"
NFSZBX, ONE_COUNTER, NETHOGS = "nfszbx", "one counter", "nethogs"
_START_SECONDS = 300.0

Run = Callable[[Path], AbstractContextManager[None]]
"""A contender that counts; it may use the folder, which is below ``/tmp``."""


class Felt(NamedTuple):
    """What a client has felt."""

    bytes_per_second: float
    read_seconds: list[float]
    """Of single reads."""


class Figures(TypedDict):
    """Of one service by contender, a figure for each round."""

    bytes_per_second: dict[str, list[float]]
    p99_seconds: dict[str, list[float]]


class Result(TypedDict):
    """Of one machine."""

    kernel: str
    bpftrace: str
    services: dict[str, Figures]


def measure(
    contenders: Mapping[str, Run], works: Mapping[str, Callable[[], Felt]], rounds: int
) -> Result:
    """All of them, in another order in each round; ``works`` by service."""
    luck = random.Random(1)  # noqa: S311  an order
    services = {service: Figures(bytes_per_second={}, p99_seconds={}) for service in works}
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o711)
        for work in works.values():
            work()  # what comes first is slower
        for number in range(rounds):
            order = list(contenders)
            luck.shuffle(order)
            for each in order:
                with contenders[each](Path(name)):
                    for service, work in works.items():
                        felt, figures = work(), services[service]
                        p99 = quantiles(felt.read_seconds, n=100)[98]
                        figures["bytes_per_second"].setdefault(each, []).append(
                            felt.bytes_per_second
                        )
                        figures["p99_seconds"].setdefault(each, []).append(p99)
            print(f"round {number + 1} of {rounds}", flush=True)
    return Result(
        kernel=platform.release().partition("-")[0],
        bpftrace=find_own_bpftrace().version,
        services=services,
    )


@contextmanager
def nothing(folder: Path) -> Iterator[None]:
    """Nobody counts."""
    del folder
    yield


def nfszbx(interval_seconds: int, *, has_operations: bool) -> Run:
    """As it runs on a server, when it has started; with NFS operations, when it counts those.

    The interval is one that the work is not shorter than.
    """

    @contextmanager
    def run(folder: Path) -> Iterator[None]:
        environment = {
            **os.environ,
            "NFSZBX_STATE_DIRECTORY": str(folder / "state"),
            "NFSZBX_SINKS": '["prometheus"]',
            "NFSZBX_INTERVAL_SECONDS": str(interval_seconds),
        }
        with Service(environment) as service:
            service.wait_for_intervals(2)
            if has_operations:
                service.wait_for("nfszbx_nfs_up", 1)
            yield

    return run


def one_counter(script: str) -> Run:
    """The script, with a print each second."""

    @contextmanager
    def run(folder: Path) -> Iterator[None]:
        text = script + "interval:s:1 { print(@received); print(@sent); }\n"
        with running(find_own_bpftrace(), Script(text, {}), folder / "script.bt"):
            yield

    return run


def program(*command: str, begun: str) -> Run:
    """One that counts from when it has said that word, until it is ended."""

    @contextmanager
    def run(folder: Path) -> Iterator[None]:
        said = folder / "said"
        with said.open("wb") as lines:
            child = subprocess.Popen(
                command, stdout=lines, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )
        try:
            deadline = time.monotonic() + _START_SECONDS
            while begun not in (text := said.read_text(errors="replace")):
                assert child.poll() is None, (*command, text)
                assert time.monotonic() < deadline, (*command, text)
                time.sleep(0.1)
            yield
            assert child.poll() is None, command
        finally:
            end(child)

    return run

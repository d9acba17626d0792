"""Lets all contenders count the same calls at once, and reads what each has cost."""

import json
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, TypedDict

from benchmarks.bpf_statistics import read_runs, statistics
from benchmarks.bpftraces import Bpftrace
from benchmarks.kernel.contenders import (
    HAND_WRITTEN,
    SERVER_NAME,
    CannotRunError,
    Contender,
    choose_contenders,
)
from benchmarks.loopback import Traffic
from nfszbx.kernel.facts import KernelFacts

ROUNDS = 15
BURSTS = 10
CLIENTS = (1, 500)
_START_SECONDS = 300.0
_NAME = Path("/proc/self/comm")


class Figures(TypedDict):
    """Of one contender."""

    calls: dict[str, list[float]]
    """By clients and direction, nanoseconds for each call of the server, a figure a round."""
    runs: dict[str, float]
    """The same of runs of its programs."""


class Result(TypedDict):
    """Of one kernel and one bpftrace."""

    kernel: str
    preemption: str
    bpftrace: str
    figures: dict[str, Figures]


class _Started(NamedTuple):
    contender: Contender
    process: int


def measure(facts: KernelFacts, bpftrace: Bpftrace, built: Path) -> Result:
    """Everything that can count here."""
    contenders = choose_contenders(facts, bpftrace, built)
    figures = {contender.name: Figures(calls={}, runs={}) for contender in contenders}
    with ExitStack() as stack:
        stack.enter_context(statistics())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp")))
        started = []
        for contender in contenders:
            try:
                process = stack.enter_context(contender.running(folder))
            except CannotRunError as error:
                if contender.name.startswith(HAND_WRITTEN):
                    raise
                print(f"{contender.name} does not run here: {error}")
                del figures[contender.name]
                continue
            started.append(_Started(contender, process))
        stack.callback(_NAME.write_text, _NAME.read_text())
        _NAME.write_text(SERVER_NAME)
        for clients in CLIENTS:
            with Traffic(clients) as traffic:
                for direction, move in (
                    ("receive", traffic.receive),
                    ("transmit", traffic.transmit),
                ):
                    _wait_until_counting(started, move)
                    _measure_rounds(started, move, f"{clients} {direction}", figures)
    return Result(
        kernel=platform.release().partition("-")[0],
        preemption=str(facts.preemption),
        bpftrace=bpftrace.version,
        figures=figures,
    )


def _measure_rounds(
    started: Sequence[_Started], move: Callable[[], int], name: str, figures: dict[str, Figures]
) -> None:
    counts: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        before = [read_runs(each.process) for each in started]
        calls = sum(move() for _ in range(BURSTS))
        for each, earlier in zip(started, before, strict=True):
            runs = read_runs(each.process).since(earlier)
            figures[each.contender.name]["calls"].setdefault(name, []).append(runs.time_ns / calls)
            counts.setdefault(each.contender.name, []).append(runs.runs / calls)
    for contender, each_round in counts.items():
        figures[contender]["runs"][name] = sum(each_round) / ROUNDS


def _wait_until_counting(started: Sequence[_Started], move: Callable[[], int]) -> None:
    """Some say that they have begun before they have."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        before = [read_runs(each.process) for each in started]
        calls = move()
        counts = {
            each.contender.name: read_runs(each.process).since(earlier).runs
            for each, earlier in zip(started, before, strict=True)
        }
        if all(count >= calls for count in counts.values()):
            return
        assert time.monotonic() < deadline, f"of {calls} calls: {json.dumps(counts)}"
        time.sleep(0.5)

"""Faults in a running nfszbx: data moves all the while, and what is lost is measured."""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.live.moving import moving_data
from tests.live.running import Document, NfszbxRun, client_bytes
from tests.live.samba import SambaServer

DIRECTIONS = ("receive", "transmit")
DOCUMENTS = 60
ATTEMPTS = 30


@dataclass
class Fault:
    """A row of the table in docs/reliability.md."""

    part: str
    """Where it happens: ``bpftrace``, ``nfszbx``, ``machine`` or ``sinks``."""
    fault: str
    injection: str
    """The command, or what stands for it."""
    recovery: str = ""
    """What the time until recovery is the time of."""
    moved_bytes: int | None = None
    """By the sockets' own counters; None where no data moves."""
    lost_bytes: int | None = None
    recovery_seconds: float | None = None
    metric: str = ""
    before: float | None = None
    during: float | None = None
    after: float | None = None
    note: str = ""


Record = Callable[[str, Fault], None]


def write_fault(directory: Path | None, name: str, fault: Fault) -> None:
    """Keep the row, if it was asked for."""
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
        text = json.dumps(asdict(fault), indent=2, ensure_ascii=False)
        (directory / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")


def read_metric(document: Document, name: str) -> float:
    """``child_restarts_total{reason="killed"}`` of a document's health."""
    field, _, label = name.removeprefix("nfszbx_").partition("{")
    value: Any = document["health"][field]
    return float(value[label.partition('"')[2].partition('"')[0]] if label else value)


class Drill:
    """nfszbx measures, a client of Samba moves data all the time, and something goes wrong."""

    def __init__(
        self,
        samba: SambaServer,
        directory: Path,
        fault: Fault,
        flags: Sequence[str] = (),
        environment: dict[str, str] | None = None,
    ) -> None:
        self._samba = samba
        self._client = samba.own_client
        self._payload = directory / "payload"
        self._payload.write_bytes(b"x" * 1_000_000)
        self._run = NfszbxRun(flags, environment)
        self.fault = fault

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.run = stack.enter_context(self._run)
            client = stack.enter_context(self._samba.connect(self._samba.own_address))
            self._moving = stack.enter_context(ExitStack())
            self._moving.enter_context(moving_data(client, self._payload))
            self.wait(lambda d: client_bytes(d, "smbd")[self._client, "receive"] > 1_000_000)
            self.fault.before = self._read(self.run.documents[-1])
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, traceback)
        if kind is None:
            _assert_growing(self.run.documents)

    def wait(self, enough: Callable[[Document], bool]) -> Document:
        """The first document from now on that is enough."""
        for _ in range(DOCUMENTS):
            document = self.run.next_document()
            if enough(document):
                return document
        raise AssertionError(self.run.log_lines)

    def begin(self) -> None:
        """The fault, or its end, is now: the time until recovery begins."""
        self.run.take_waiting()
        self._begun = time.monotonic()
        self._known = self.run.documents[-1]["health"]["intervals_total"]

    @property
    def seconds(self) -> float:
        """Since :meth:`begin`."""
        return time.monotonic() - self._begun

    def go_on_with(self, run: NfszbxRun) -> None:
        """Another nfszbx has taken the place of the one that was killed."""
        self.run, self._known = run, run.documents[-1]["health"]["intervals_total"]

    def wait_for_documents(self, count: int) -> None:
        """So many intervals."""
        for _ in range(count):
            self.run.next_document()

    def wait_for_metric(self) -> float:
        """Until the metric of the fault is not what it was before.

        It is kept as its value during the fault. The seconds since :meth:`begin`.
        """
        document = self.wait(lambda d: self._read(d) != self.fault.before)
        self.fault.during = self._read(document)
        return self.seconds

    def wait_for_recovery(self) -> None:
        """Until an interval was measured whole, of those after :meth:`begin`; keeps the time."""
        known = self._known + 1  # the one that was under way
        self.wait(lambda d: d["complete"] and d["health"]["intervals_total"] > known)
        self.fault.recovery_seconds = self.seconds

    def compare(self) -> None:
        """The client rests: what the kernel's sockets have, and what nfszbx has not."""
        self._moving.close()
        for _ in range(ATTEMPTS):
            truth = self._samba.read_socket_bytes()
            self.run.take_waiting()
            self.wait(lambda d: bool(d["health"]["child_up"]))
            document = self.wait(lambda d: bool(d["health"]["child_up"]))
            if self._samba.read_socket_bytes() == truth:  # the same before and after it
                break
        else:
            raise AssertionError("the connection never came to rest")
        counted = client_bytes(document, "smbd")
        for direction in DIRECTIONS:  # nothing is invented
            key = self._client, direction
            assert counted[key] <= truth[key]
        keys = [(self._client, direction) for direction in DIRECTIONS]
        self.fault.moved_bytes = sum(truth[key] for key in keys)
        self.fault.lost_bytes = sum(truth[key] - counted[key] for key in keys)
        self.fault.after = self._read(document)

    def assert_nothing_missed(self) -> None:
        """After the end: every byte was counted, in intervals that were measured whole."""
        assert self.fault.lost_bytes == 0
        assert all(document["complete"] for document in self.run.documents)

    def count_log(self, words: str) -> int:
        """Lines of the log that have these words."""
        return sum(words in line for line in self.run.log_lines)

    def _read(self, document: Document) -> float | None:
        return read_metric(document, self.fault.metric) if self.fault.metric else None


def _assert_growing(documents: Sequence[Document]) -> None:
    """No counter goes backwards, no rate is below zero."""
    for before, after in pairwise(documents):
        for service, totals in before["services"].items():
            for field, value in totals.items():
                if field.endswith("_total"):
                    assert after["services"][service][field] >= value
                else:
                    assert value >= 0

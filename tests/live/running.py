"""Runs the real command ``nfszbx run`` and keeps what it says."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

NFSZBX = [sys.executable, "-m", "nfszbx"]
DOCUMENT_SECONDS = 60.0

Document = dict[str, Any]


class NfszbxRun:
    """``with NfszbxRun([...flags]) as run``: the command, with its documents as they come."""

    def __init__(
        self,
        flags: Sequence[str] = (),
        environment: dict[str, str] | None = None,
        before: Sequence[str] = (),
        interval: Sequence[str] = ("--interval-seconds", "1"),
    ) -> None:
        """``before`` is put in front of the command."""
        self._command = [
            *before,
            *NFSZBX,
            "run",
            "--sink",
            "console",
            *interval,
            *flags,
        ]
        self._state = TemporaryDirectory(prefix="nfszbx-state-")
        state = {"NFSZBX_STATE_DIRECTORY": self._state.name}
        self._environment = {**os.environ, **state, **(environment or {})}
        self._queue: queue.Queue[Document | None] = queue.Queue()
        self.documents: list[Document] = []
        """All that were taken from the queue."""
        self.log_lines: list[str] = []

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self._command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self._environment,
        )
        self._threads = [threading.Thread(target=t) for t in (self._read_stdout, self._read_stderr)]
        for thread in self._threads:
            thread.start()
        try:
            self.wait_for_dump()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop(signal.SIGTERM)
        for stream in (self.process.stdout, self.process.stderr):
            if stream:
                stream.close()
        self._state.cleanup()

    def stop(self, number: signal.Signals) -> int:
        """Send the signal and wait for the end; every document is in ``documents`` then."""
        self.process.send_signal(number)
        status = self.process.wait(30)
        for thread in self._threads:
            thread.join(30)
        self.take_waiting()
        return status

    def take_waiting(self) -> None:
        """Take the documents that have come already: the next one is a new one."""
        with suppress(queue.Empty):
            while document := self._queue.get_nowait():
                self.documents.append(document)

    def next_document(self) -> Document:
        """The next document, one for each interval. Raises when none comes."""
        document = self._queue.get(timeout=DOCUMENT_SECONDS)
        if document is None:
            raise RuntimeError(f"nfszbx ended: {self.log_lines}")
        self.documents.append(document)
        return document

    def wait_for_dump(self) -> Document:
        """The first document from now on that a dump stands behind, made after this call."""
        called = time.time()
        while True:
            document = self.next_document()
            if document["time"] > called and document["health"]["child_up"]:
                return document

    def child_pids(self) -> list[int]:
        """The bpftrace processes that nfszbx has started."""
        task = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in task.read_text().split()]

    def _read_stdout(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._queue.put(json.loads(line))
        self._queue.put(None)

    def _read_stderr(self) -> None:
        assert self.process.stderr
        self.log_lines.extend(self.process.stderr)


def client_bytes(document: Document, service: str) -> Counter[tuple[str, str]]:
    """The counters of a document's rows, by client and direction."""
    return Counter(
        {
            (row["client"], direction): row[f"{direction}_bytes_total"]
            for row in document["clients"]
            if row["service"] == service
            for direction in ("receive", "transmit")
        }
    )

"""Bpftraces to measure with: this machine's, and that of a later Debian in a folder."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from nfszbx.kernel.bpftrace import read_bpftrace
from nfszbx.kernel.facts import PRESENT, BpftraceFacts
from nfszbx.script import Script
from tests.debian import build_root, describe_root, find_mirror, get_cached

SUITE = "trixie"
BEGIN_MARK = "nfszbx begin"
_END_SECONDS = 30.0
_START_SECONDS = 300.0
"""In an emulated machine bpftrace takes a minute, several at once take several."""


@dataclass(frozen=True)
class Bpftrace:
    """A bpftrace, and how it is started."""

    facts: BpftraceFacts
    command: tuple[str, ...]

    @property
    def version(self) -> str:
        """Its version."""
        return ".".join(map(str, self.facts.version))


def find_own_bpftrace() -> Bpftrace:
    """This machine's."""
    facts = read_bpftrace(None)
    return Bpftrace(facts, (facts.path,))


def find_later_bpftrace() -> Bpftrace:
    """That of a later Debian, which is made once."""
    arguments = describe_root(["bpftrace"], [SUITE])
    recipe = sha256("\n".join(arguments).encode()).hexdigest()[:12]
    words = [word.replace("deb mirror", f"deb {find_mirror()}") for word in arguments]
    root = get_cached("bpftrace", SUITE, recipe, lambda place: build_root(place / "made", words))
    mounts = "for each in proc sys tmp; do mount --rbind /$each $0/$each; done"
    run = f'{mounts}; exec chroot "$0" bpftrace "$@"'
    command = ("unshare", "--mount", "sh", "-c", run, str(root))
    said = subprocess.check_output([*command, "--version"], text=True)
    major, minor, patch = map(int, re.findall(r"\d+", said)[:3])
    return Bpftrace(BpftraceFacts(PRESENT, "bpftrace", (major, minor, patch)), command)


def find_bpftraces() -> Iterator[Bpftrace]:
    """Both."""
    yield find_own_bpftrace()
    yield find_later_bpftrace()


def end(child: "subprocess.Popen[bytes]") -> None:
    """Ask it to, and enforce it: bpftrace 0.17 has been seen to go on."""
    child.send_signal(signal.SIGINT)
    try:
        child.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


@contextmanager
def running(bpftrace: Bpftrace, script: Script, path: Path) -> Iterator[int]:
    """While bpftrace counts, with its script at a place in ``/tmp``; its process.

    The script prints BEGIN_MARK when it begins.
    """
    lines = path.with_suffix(".lines")
    path.write_text(script.text)
    with lines.open("wb") as stream:
        child = subprocess.Popen(
            [*bpftrace.command, "-f", "json", str(path)],
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, **script.environment},
        )
    try:
        deadline = time.monotonic() + _START_SECONDS
        while BEGIN_MARK not in lines.read_text():
            assert child.poll() is None, lines.read_text()
            assert time.monotonic() < deadline, lines.read_text()
            time.sleep(0.05)
        time.sleep(0.2)
        yield child.pid
    finally:
        end(child)
    assert "full" not in lines.read_text()

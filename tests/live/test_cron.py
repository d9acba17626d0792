"""A real cron daemon keeps nfszbx alive by one line."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.processes import wait_until_gone
from tests.requirements import require

START_SECONDS = 90.0  # cron looks once a minute

# In a mount namespace of its own: nothing of this machine's own cron is seen, or started.
CRON = """
mount -t tmpfs tmpfs /etc/cron.d
mount -t tmpfs tmpfs /var/spool/cron
mount -t tmpfs tmpfs /run
mount --bind "$1" /etc/crontab
exec cron -f
"""


@contextmanager
def cron(crontab: Path) -> Iterator[None]:
    """The daemon, with this as the system's crontab."""
    command = ["unshare", "--mount", "sh", "-e", "-c", CRON, "sh", str(crontab)]
    with subprocess.Popen(command) as process:
        try:
            yield
        finally:
            process.terminate()


def wait_for_document(path: Path, known: int) -> dict[str, Any]:
    """The first one beyond those that are known."""
    deadline = time.monotonic() + START_SECONDS
    while not path.exists() or len(lines := path.read_text().split("\n")[:-1]) <= known:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return dict(json.loads(lines[known]))


def find_nfszbx(setting: str) -> list[int]:
    """The processes that were started with this setting."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if setting.encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


def test_one_line_keeps_it_alive(tmp_path: Path) -> None:
    require("bpftrace", "cron", "unshare")
    documents, errors = tmp_path / "out", tmp_path / "err"
    setting = f"NFSZBX_STATE_DIRECTORY={tmp_path / 'state'}"
    nfszbx = f"{sys.executable} -m nfszbx run --lock --interval-seconds 1"
    crontab = tmp_path / "crontab"
    crontab.write_text(f"{setting}\n* * * * * root exec {nfszbx} >>{documents} 2>>{errors}\n")
    with cron(crontab):
        try:
            assert wait_for_document(documents, 0)["complete"]
            (first,) = find_nfszbx(setting)
            os.kill(first, signal.SIGKILL)
            assert wait_until_gone(first)
            known = len(documents.read_text().split("\n")[:-1])
            # The next one goes on with the counters, and says that it has missed something.
            assert not wait_for_document(documents, known)["complete"]
        finally:
            pids = find_nfszbx(setting)
            for pid in pids:
                os.kill(pid, signal.SIGTERM)
    assert all(wait_until_gone(pid) for pid in pids)
    assert "measuring" in errors.read_text()

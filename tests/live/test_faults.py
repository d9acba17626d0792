"""Every fault has a name: each is injected into a real run, with what it costs and what shows it.

``--fault-results=FOLDER`` keeps the rows for docs/reliability.md; ``python -m benchmarks.faults``
makes the page of them.
"""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.live import running
from tests.live.faults import Drill, Fault, Record, read_metric
from tests.live.running import NFSZBX, NfszbxRun
from tests.live.samba import SambaServer
from tests.live.unruly import Unruly, write_synthetic
from tests.processes import wait_until_gone

INTERVAL_SECONDS = 1.0
NOTICE_SECONDS = 3 * INTERVAL_SECONDS
SLACK_SECONDS = 1.0
MEMORY_BYTES = 300_000_000


def read_peak_bytes(pid: int) -> int:
    """The most memory that the process has had."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def test_bpftrace_is_killed(samba: SambaServer, tmp_path: Path, record: Record) -> None:
    fault = Fault(
        "bpftrace",
        "bpftrace is killed",
        "kill -KILL PID",
        metric='nfszbx_child_restarts_total{reason="killed"}',
    )
    with Drill(samba, tmp_path, fault) as drill:
        (pid,) = drill.run.child_pids()
        drill.begin()
        os.kill(pid, signal.SIGKILL)
        drill.wait_for_recovery()
        drill.wait_for_metric()
        drill.compare()
        assert drill.count_log("bpftrace ended (killed): killed by SIGKILL") == 1
    record("bpftrace-killed", fault)


def test_bpftrace_hangs(samba: SambaServer, tmp_path: Path, record: Record) -> None:
    """Noticed within three intervals, and killed."""
    fault = Fault(
        "bpftrace",
        "bpftrace hangs",
        "kill -STOP PID",
        metric='nfszbx_child_restarts_total{reason="silent"}',
    )
    with Drill(samba, tmp_path, fault) as drill:
        (pid,) = drill.run.child_pids()
        drill.begin()
        os.kill(pid, signal.SIGSTOP)
        assert wait_until_gone(pid, NOTICE_SECONDS + SLACK_SECONDS)
        drill.wait_for_metric()
        drill.wait_for_recovery()
        drill.compare()
        assert drill.count_log("bpftrace ended (silent)") == 1
    record("bpftrace-hangs", fault)


def test_crash_loop(samba: SambaServer, tmp_path: Path, record: Record) -> None:
    """It exits at once every time: restarts slow down, the log says it once, the alarm is on."""
    unruly = Unruly(tmp_path)
    fault = Fault(
        "bpftrace",
        "bpftrace exits at once, again and again",
        "a program in its place: exit 1",
        recovery="from when it is mended; the alarm stays for 5 minutes more",
        metric="nfszbx_child_crash_loop",
    )
    with Drill(samba, tmp_path, fault, environment=unruly.environment) as drill:
        unruly.tell("exit")
        drill.begin()
        drill.wait_for_metric()
        ends = drill.run.documents[-1]["health"]["child_restarts_total"]["exited"]
        more = drill.wait(lambda d: d["health"]["child_restarts_total"]["exited"] > ends)
        assert more["health"]["child_state"] in {1, 3}
        assert drill.count_log("a crash loop: starting again more and more slowly") == 1
        lines = drill.count_log("bpftrace ended")
        assert lines < more["health"]["child_restarts_total"]["exited"]
        unruly.mend()
        drill.begin()
        drill.wait_for_recovery()
        drill.compare()
        assert fault.lost_bytes == 0
    record("bpftrace-crash-loop", fault)


OUTPUTS = {
    "endless": ("output without a line feed that never ends", "tr '\\0' x </dev/zero"),
    "babble": ("garbage that never ends", "yes not a record of bpftrace"),
}


@pytest.mark.parametrize("how", OUTPUTS)
def test_output_that_never_ends(
    how: str, samba: SambaServer, tmp_path: Path, record: Record
) -> None:
    """The child is killed for it, before memory is used up."""
    unruly = Unruly(tmp_path)
    name, command = OUTPUTS[how]
    fault = Fault(
        "bpftrace",
        name,
        f"in its place: {command}",
        metric='nfszbx_child_restarts_total{reason="flooding"}',
    )
    with Drill(samba, tmp_path, fault, environment=unruly.environment) as drill:
        unruly.tell(how)
        drill.begin()
        drill.wait_for_metric()
        drill.wait_for_recovery()
        drill.compare()
        assert fault.lost_bytes == 0
        peak_bytes = read_peak_bytes(drill.run.process.pid)
        assert peak_bytes < MEMORY_BYTES
        fault.note = f"nfszbx took {peak_bytes / 1e6:.0f} MB of memory at most"
        assert drill.count_log("without a usable dump; killed") == 1
    record(f"bpftrace-{how}", fault)


def test_garbage_lines(samba: SambaServer, tmp_path: Path, record: Record) -> None:
    """The dump they are in is refused; the next one brings what it held."""
    unruly = Unruly(tmp_path)
    fault = Fault(
        "bpftrace",
        "1,000 lines of garbage between dumps",
        "in its place: a program that adds them",
        metric="nfszbx_refused_dumps_total",
    )
    with Drill(samba, tmp_path, fault, environment=unruly.environment) as drill:
        unruly.tell("garbage 1000")
        drill.begin()
        drill.wait_for_metric()
        drill.wait_for_recovery()
        drill.compare()
        assert fault.after == 1
        assert drill.count_log("refused: ") == 1
        assert set(drill.run.documents[-1]["health"]["child_restarts_total"].values()) == {0}
    drill.assert_nothing_missed()
    record("bpftrace-garbage", fault)


LARGE_CLIENTS, LARGE_CLIENT_BYTES = 1_000_000, 10**12
LARGE_INTERVAL_SECONDS = 60
LARGE_SECONDS = 240.0


def test_dump_of_50_mb(tmp_path: Path, record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million clients: every byte of them is counted."""
    monkeypatch.setattr(running, "DOCUMENT_SECONDS", LARGE_SECONDS)
    environment = write_synthetic(
        tmp_path / "bpftrace", LARGE_CLIENTS, LARGE_CLIENT_BYTES, LARGE_INTERVAL_SECONDS
    )
    environment["NFSZBX_MAP_MAX_ENTRIES"] = "1048576"
    fault = Fault(
        "bpftrace",
        "a dump of 50 MB, a million clients",
        "in its place: a program that prints it",
        recovery="no fault: from the start to the first values",
        metric="nfszbx_map_entries",
        moved_bytes=LARGE_CLIENTS * LARGE_CLIENT_BYTES,
    )
    begin = time.monotonic()
    with NfszbxRun(["--interval-seconds", str(LARGE_INTERVAL_SECONDS)], environment) as run:
        fault.recovery_seconds = time.monotonic() - begin
        peak_bytes = read_peak_bytes(run.process.pid)
        document = run.documents[-1]
        run.process.kill()  # it would read the next one to its end first
        run.process.wait()
    assert int((tmp_path / "bpftrace.size").read_text()) > 50_000_000
    fault.during = read_metric(document, fault.metric)
    assert fault.during == LARGE_CLIENTS
    counted = document["services"]["smbd"]["receive_bytes_total"]
    assert counted == fault.moved_bytes
    rows = [row["receive_bytes_total"] for row in document["clients"] if row["service"] == "smbd"]
    assert sum(rows) == counted
    fault.lost_bytes = 0
    fault.note = f"nfszbx took {peak_bytes / 1e6:.0f} MB of memory at most"
    record("bpftrace-large-dump", fault)


def test_dump_far_too_large(tmp_path: Path, record: Record) -> None:
    """Larger than the kernel's maps can be, as they are set: refused before it is in memory."""
    environment = write_synthetic(tmp_path / "bpftrace", LARGE_CLIENTS, LARGE_CLIENT_BYTES, 1)
    fault = Fault(
        "bpftrace",
        "a dump of 50 MB where maps have room for 8,192 clients, from the start",
        "in its place: a program that prints it",
        recovery="until nfszbx gives up, with exit status 4",
    )
    begin = time.monotonic()
    with (tmp_path / "said").open("w+") as said:
        process = subprocess.Popen(
            [*NFSZBX, "run"], stdout=said, stderr=said, env={**os.environ, **environment}
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        fault.recovery_seconds = time.monotonic() - begin
        said.seek(0)
        text = said.read()
    assert process.returncode == 4, text
    assert "bpftrace has failed 5 times without a single dump" in text
    assert "without a usable dump; killed" in text
    assert usage.ru_maxrss * 1024 < MEMORY_BYTES
    memory = f"{usage.ru_maxrss * 1024 / 1e6:.0f} MB"
    fault.note = f"neither nfszbx nor the program took more than {memory} of memory"
    record("bpftrace-too-large-dump", fault)

"""The same as test_faults.py, for faults of the machine, of nfszbx itself and of sinks."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from nfszbx.sinks.prometheus import CONNECTION_TIMEOUT_SECONDS, MAX_CONNECTIONS
from nfszbx.zabbix_keys import TOTALS_KEY
from tests.fake_zabbix import FakeServer, MuteServer, success
from tests.live.faults import Drill, Fault, Record, read_metric
from tests.live.running import NFSZBX, NfszbxRun
from tests.live.samba import SambaServer
from tests.live.sinks_process import find_sinks
from tests.network import free_port
from tests.processes import wait_until_gone

SLOW_SECONDS = 10.0


def test_machine_is_suspended(samba: SambaServer, tmp_path: Path, record: Record) -> None:
    """Nothing runs for a while, then all goes on; what flowed meanwhile is in the next dump."""
    fault = Fault(
        "machine",
        f"everything stands still for {SLOW_SECONDS:.0f} s, as in a suspended machine",
        "kill -STOP to nfszbx and bpftrace, kill -CONT to both",
        recovery="from the CONT",
        note="intervals whose length is not known then have no rates",
    )
    with Drill(samba, tmp_path, fault) as drill:
        pids = [drill.run.process.pid, *drill.run.child_pids()]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(SLOW_SECONDS)
        drill.begin()
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        known = len(drill.run.documents)
        drill.wait_for_recovery()
        drill.wait(lambda d: "receive_bytes_per_second" in d["services"]["smbd"])
        late = drill.run.documents[known:]
        assert any("receive_bytes_per_second" not in d["services"]["smbd"] for d in late)
        drill.compare()
        assert drill.run.child_pids() == pids[1:]
    drill.assert_nothing_missed()
    record("machine-suspended", fault)


def test_full_disk(samba: SambaServer, state: Path, tmp_path: Path, record: Record) -> None:
    """Measuring and sending go on; what waits is in memory until there is room again."""
    server = FakeServer(success(1, 0))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(state)], check=True)
    fault = Fault(
        "machine",
        "the disk of the state directory is full",
        "mount -t tmpfs -o size=1m; cat /dev/zero >FILE",
        recovery="from when there is room again: the spool tries once a minute",
        metric="nfszbx_state_kept",
    )
    environment = {
        "NFSZBX_STATE_DIRECTORY": str(state),
        **make_zabbix_environment(server),
    }
    try:
        with Drill(samba, tmp_path, fault, ["--sink", "zabbix"], environment) as drill:
            filler = state / "filler"
            with suppress(OSError):
                filler.write_bytes(bytes(2 << 20))
            drill.begin()
            drill.wait_for_metric()
            drill.wait_for_documents(5)
            # The counters and the spool say it, each when it first has to write; neither twice.
            assert len(set(drill.run.log_lines)) == len(drill.run.log_lines)
            filler.unlink()
            drill.begin()
            drill.wait(lambda d: read_metric(d, fault.metric) == 1)
            fault.recovery_seconds = drill.seconds
            drill.compare()
            assert drill.count_log("No space left") + drill.count_log("disk is full") >= 1
        assert read_clocks(server) >= {round(d["time"], 3) for d in drill.run.documents[:-1]}
    finally:
        subprocess.run(["umount", str(state)], check=True)
        server.close()
    drill.assert_nothing_missed()
    record("machine-disk-full", fault)


@pytest.mark.parametrize("hours", [5, -5])
def test_clock_jumps(
    hours: int, samba: SambaServer, tmp_path: Path, state: Path, record: Record
) -> None:
    """While Zabbix is away, so that values wait in the spool: each arrives, with its own time."""
    state.chmod(0o755)  # both processes look there
    server = MuteServer()
    server.fall_silent()
    jump = state / "jump"
    (state / "sitecustomize.py").write_text(
        "import pathlib, time\n"
        f"jump, real = pathlib.Path({str(jump)!r}), time.time\n"
        "time.time = lambda: real() + (float(jump.read_text()) if jump.exists() else 0)\n"
    )
    direction = "forwards" if hours > 0 else "backwards"
    fault = Fault(
        "machine",
        f"the clock jumps {abs(hours)} hours {direction} while values wait for Zabbix",
        "Python's time.time() of nfszbx, moved",
        metric="nfszbx_last_dump_timestamp_seconds",
    )
    environment = {
        "PYTHONPATH": os.pathsep.join([str(state), str(Path.cwd())]),
        "NFSZBX_SPOOL__MAX_AGE_HOURS": "1",
        **make_zabbix_environment(server),
    }
    flags = ["--sink", "zabbix"]
    with closing(server), Drill(samba, tmp_path, fault, flags, environment) as drill:
        drill.wait_for_documents(3)
        new = jump.with_suffix(".new")
        new.write_text(str(hours * 3600))
        new.replace(jump)
        drill.begin()
        drill.wait(lambda d: abs(d["time"] - time.time()) > 3600)
        drill.wait_for_recovery()
        fault.during = read_metric(drill.run.documents[-1], fault.metric)
        drill.wait_for_documents(40)  # the spool tidies up every 30 seconds
        server.go_on()
        name = f"zabbix 127.0.0.1:{server.node.port}"
        drill.wait(lambda d: d["health"]["sink_queue_length"][name] <= 2)
        drill.compare()
        dropped = drill.run.documents[-1]["health"]["sink_dropped_total"][name]
    assert dropped == 0
    assert read_clocks(server) >= {round(d["time"], 3) for d in drill.run.documents[:-1]}
    drill.assert_nothing_missed()
    fault.note = f"{len(drill.run.documents)} intervals, all of them have arrived"
    record(f"machine-clock-{direction}", fault)


def test_zabbix_accepts_and_never_answers(
    samba: SambaServer, tmp_path: Path, record: Record
) -> None:
    """Values wait in the spool; each arrives when it answers again, and is sent no more then."""
    server = MuteServer()
    name = f"zabbix 127.0.0.1:{server.node.port}"
    fault = Fault(
        "sinks",
        "a Zabbix server accepts connections and never answers",
        "a server on loopback that reads and is silent",
        recovery="from when it answers: until nothing waits",
        metric=f'nfszbx_sink_state{{sink="{name}"}}',
    )
    flags, environment = ["--sink", "zabbix"], make_zabbix_environment(server)
    with closing(server), Drill(samba, tmp_path, fault, flags, environment) as drill:
        drill.wait(lambda d: read_metric(d, fault.metric) == 0)
        fault.before = 0
        arrived = read_clocks(server)
        server.fall_silent()
        drill.begin()
        drill.wait_for_metric()
        drill.wait_for_documents(10)
        assert drill.run.documents[-1]["health"]["sink_queue_length"][name] > 5
        server.go_on()
        drill.begin()
        drill.wait(lambda d: d["health"]["sink_queue_length"][name] <= 2)
        fault.recovery_seconds = drill.seconds
        drill.compare()
        assert drill.count_log("no answer within 2 s; values wait in the spool") == 1
    drill.assert_nothing_missed()
    arrived |= read_clocks(server)
    assert arrived >= {round(d["time"], 3) for d in drill.run.documents[:-1]}
    fault.metric = 'nfszbx_sink_state{sink="zabbix …"}'
    record("sink-zabbix-silent", fault)


def test_prometheus_clients_that_never_read(
    samba: SambaServer, tmp_path: Path, record: Record
) -> None:
    """They take every connection that there is; ten seconds later scrapes are answered again."""
    port = free_port()
    fault = Fault(
        "sinks",
        f"{MAX_CONNECTIONS} clients connect to the Prometheus endpoint and never read",
        "sockets that are opened and left",
        recovery="until a scrape is answered again",
        metric='nfszbx_sink_state{sink="prometheus"}',
    )
    flags = ["--sink", "prometheus", "--prometheus-port", str(port)]
    with Drill(samba, tmp_path, fault, flags) as drill, ExitStack() as stack:
        for _ in range(MAX_CONNECTIONS):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        drill.begin()
        with pytest.raises(OSError, match=r"."):
            scrape(port)
        while True:
            with suppress(OSError):
                assert "nfszbx_child_up 1.0" in scrape(port)
                break
            assert drill.seconds < CONNECTION_TIMEOUT_SECONDS + 2.0
            time.sleep(0.2)
        fault.recovery_seconds = drill.seconds
        drill.compare()
        fault.during = fault.after
    drill.assert_nothing_missed()
    fault.note = "Prometheus' own up is 0 meanwhile"
    record("sink-prometheus-silent", fault)


def test_prometheus_port_in_use(record: Record) -> None:
    """nfszbx does not start, and says what to do."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        result = subprocess.run(
            [*NFSZBX, "run", "--sink", "prometheus", "--prometheus-port", port],
            capture_output=True,
            text=True,
            check=False,
        )
    assert result.returncode == 6
    assert "Address already in use" in result.stderr
    assert "hint: choose another" in result.stderr
    note = "nfszbx ends with exit status 6 and names the port"
    record(
        "sink-prometheus-port",
        Fault("sinks", "the Prometheus port is in use", "another server listens there", note=note),
    )


def test_nfszbx_is_killed(samba: SambaServer, tmp_path: Path, record: Record) -> None:
    """And started again at once: counters go on, and what came in between is said to be missed."""
    fault = Fault(
        "nfszbx",
        "nfszbx is killed and started again at once",
        "kill -KILL PID; nfszbx run",
        metric="nfszbx_incomplete_intervals_total",
    )
    state = {"NFSZBX_STATE_DIRECTORY": str(tmp_path / "state")}
    with Drill(samba, tmp_path, fault, environment=state) as drill:
        children = drill.run.child_pids()
        drill.begin()
        os.kill(drill.run.process.pid, signal.SIGKILL)
        drill.run.process.wait()
        with NfszbxRun(environment=state) as again:
            drill.go_on_with(again)
            fault.during = read_metric(again.documents[-1], fault.metric)
            drill.wait_for_recovery()
            drill.compare()
        assert all(wait_until_gone(pid) for pid in children)
    assert fault.during == 1
    record("nfszbx-killed", fault)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_process_of_the_sinks(
    number: signal.Signals, samba: SambaServer, tmp_path: Path, record: Record
) -> None:
    """It is killed, or hangs: another one takes its place and gets what it had not done with."""
    port = free_port()
    word = number.name.removeprefix("SIG")
    fault = Fault(
        "sinks",
        f"the process of the sinks {'is killed' if number is signal.SIGKILL else 'hangs'}",
        f"kill -{word} $(pgrep nfszbx-sinks)",
        recovery="until a scrape is answered again; no interval is lost",
        metric="nfszbx_sinks_restarts_total",
    )
    flags = ["--sink", "prometheus", "--prometheus-port", str(port)]
    with Drill(samba, tmp_path, fault, flags) as drill:
        children = drill.run.child_pids()
        os.kill(find_sinks(drill.run), number)
        drill.begin()
        drill.wait_for_metric()
        while True:
            with suppress(OSError):
                assert "nfszbx_child_up 1.0" in scrape(port)
                break
            time.sleep(0.1)
        fault.recovery_seconds = drill.seconds
        drill.compare()
        assert drill.run.child_pids() == children
        assert fault.lost_bytes == 0
    intervals = [document["health"]["intervals_total"] for document in drill.run.documents]
    assert sorted(set(intervals)) == list(range(intervals[0], intervals[-1] + 1))
    assert all(document["complete"] for document in drill.run.documents)
    record(f"sinks-{word.lower()}", fault)


def make_zabbix_environment(server: FakeServer) -> dict[str, str]:
    """Settings with which values go there."""
    return {
        "NFSZBX_ZABBIX__SERVERS": f'["127.0.0.1:{server.node.port}"]',
        "NFSZBX_ZABBIX__TIMEOUT_SECONDS": "2",
    }


def read_clocks(server: FakeServer) -> set[float]:
    """When the intervals ended whose totals have arrived."""
    found = set()
    for request in server.requests:
        for value in request["data"]:
            if value["key"] == TOTALS_KEY:
                found.add(json.loads(value["value"])["time"])
    return found


def scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return str(answer.read().decode())

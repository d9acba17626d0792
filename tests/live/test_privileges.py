"""Who runs as whom, and what becomes of values when the process of the sinks dies or hangs."""

import json
import os
import pwd
import re
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from nfszbx.privileges import USERS, find_account
from nfszbx.zabbix_keys import TOTALS_KEY
from tests.fake_zabbix import FakeServer, success
from tests.live.running import NFSZBX, Document, NfszbxRun
from tests.live.sinks_process import WAIT_SECONDS, find_another, find_sinks, read_status
from tests.network import free_port
from tests.processes import is_running, wait_until_gone

CAPABILITIES = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


def scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        return str(page.read().decode())


def wait_for_page(port: int, words: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        with suppress(OSError):
            if words in scrape(port):
                return
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def server() -> Iterator[FakeServer]:
    server = FakeServer(success(1, 0))
    yield server
    server.close()


def make_run(state: Path, port: int, server: FakeServer, before: Sequence[str] = ()) -> NfszbxRun:
    flags = ["--sink", "prometheus", "--prometheus-port", str(port), "--sink", "zabbix"]
    environment = {
        "NFSZBX_STATE_DIRECTORY": str(state),
        "NFSZBX_ZABBIX__SERVERS": f'["127.0.0.1:{server.node.port}"]',
        "NFSZBX_ZABBIX__TIMEOUT_SECONDS": "2",
        "NFSZBX_ZABBIX__API__TOKEN": "no business of the sinks",
    }
    return NfszbxRun(flags, environment, before)


def read_times(server: FakeServer) -> set[float]:
    """When the intervals ended whose totals have arrived."""
    values = [value for request in server.requests for value in request["data"]]
    return {json.loads(value["value"])["time"] for value in values if value["key"] == TOTALS_KEY}


def assert_all_arrived(server: FakeServer, documents: list[Document]) -> None:
    times = read_times(server)
    assert documents
    assert [d["time"] for d in documents if round(d["time"], 3) not in times] == []


def test_who_runs_as_whom(state: Path, port: int, server: FakeServer) -> None:
    """The one that talks has no rights; the one with rights has no socket but to the kernel."""
    account = find_account()
    assert account is not None
    assert account.name == next(n for n in USERS if n in {p.pw_name for p in pwd.getpwall()})
    with make_run(state, port, server) as run:
        pid = find_sinks(run)
        run.wait_for_dump()
        status = read_status(pid)
        assert status["Uid"].split() == [str(account.uid)] * 4
        assert status["Gid"].split() == [str(account.gid)] * 4
        assert status["Groups"] == ""
        assert {int(status[name], 16) for name in CAPABILITIES} == {0}
        assert status["NoNewPrivs"] == "1"
        # As those of another user, its memory and its descriptors are root's to see alone.
        assert Path(f"/proc/{pid}/mem").stat().st_uid == 0
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        assert b"no business" not in environment
        assert read_status(run.process.pid)["Uid"].split() == ["0"] * 4
        assert find_internet_sockets(run.process.pid) == set()
        assert find_internet_sockets(pid)
        (bpftrace,) = run.child_pids()
        assert read_status(bpftrace)["Uid"].split() == ["0"] * 4
        folder = (state / "sinks").stat()
        assert (folder.st_uid, folder.st_mode & 0o777) == (account.uid, 0o700)
        assert (state / "sinks/spool.sqlite3").stat().st_uid == account.uid
        counters = (state / "counters.sqlite3").stat()
        assert (counters.st_uid, counters.st_mode & 0o777) == (0, 0o600)
        os.kill(bpftrace, signal.SIGKILL)
        run.wait_for_dump()
        assert run.child_pids() != [bpftrace]
        assert find_sinks(run) == pid
        assert run.stop(signal.SIGTERM) == 0
    assert_all_arrived(server, run.documents)


def find_internet_sockets(pid: int) -> set[str]:
    """Those that the process has open, by what the kernel's tables of TCP and UDP list."""
    tables = ("tcp", "tcp6", "udp", "udp6")
    known = set()
    for table in tables:
        lines = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        known |= {line.split()[9] for line in lines}
    links = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            links.add(path.readlink().name)
    return known & {link.removeprefix("socket:[").removesuffix("]") for link in links}


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP])
def test_sinks_die_or_hang_and_nothing_is_lost(
    fault: signal.Signals, state: Path, port: int, server: FakeServer
) -> None:
    """Twice; bpftrace goes on meanwhile, every interval arrives, and no counter falls."""
    with make_run(state, port, server) as run:
        children = run.child_pids()
        pid = find_sinks(run)
        for _ in range(2):
            run.wait_for_dump()
            os.kill(pid, fault)
            pid, before = find_another(run, pid), pid
            assert wait_until_gone(before)
            wait_for_page(port, "nfszbx_child_up 1.0")
        run.wait_for_dump()
        run.wait_for_dump()
        assert run.child_pids() == children
        assert run.stop(signal.SIGTERM) == 0
    assert sum("starting again in" in line for line in run.log_lines) == 2
    assert run.documents[-1]["health"]["sinks_restarts_total"] == 2
    assert all(document["complete"] for document in run.documents)
    numbers = [document["health"]["intervals_total"] for document in run.documents]
    assert sorted(set(numbers)) == list(range(numbers[0], numbers[-1] + 1))
    assert_all_arrived(server, run.documents)
    delivered = [document["health"]["sink_delivered_total"] for document in run.documents]
    for name in delivered[-1]:
        counts = [each[name] for each in delivered if name in each]
        assert counts == sorted(counts)


def test_low_port_can_be_served(state: Path, server: FakeServer) -> None:
    port = next(p for p in range(700, 1000) if is_free(p))
    with make_run(state, port, server):
        wait_for_page(port, "nfszbx_child_up 1.0")


def is_free(port: int) -> bool:
    with suppress(OSError), socket.create_server(("127.0.0.1", port)):
        return True
    return False


def test_killed_nfszbx_leaves_nothing(state: Path, port: int, server: FakeServer) -> None:
    with make_run(state, port, server) as run:
        pids = [find_sinks(run), *run.child_pids()]
        os.kill(run.process.pid, signal.SIGKILL)
        run.process.wait()
        assert all(wait_until_gone(pid) for pid in pids)
        socket.create_server(("127.0.0.1", port)).close()


def test_sinks_leave_stopping_to_nfszbx(state: Path, port: int, server: FakeServer) -> None:
    """As with Control-C, which reaches everything in a terminal: the last interval arrives."""
    with make_run(state, port, server) as run:
        pid = find_sinks(run)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(pid, number)
        run.wait_for_dump()
        assert run.stop(signal.SIGINT) == 0
        assert not is_running(pid)
    assert_all_arrived(server, run.documents)
    assert "starting again" not in "".join(run.log_lines)


def test_spool_of_an_earlier_version_goes_on(state: Path, port: int, server: FakeServer) -> None:
    """It was root's, in the state directory itself."""
    server.answers = [b"no answer"]
    with make_run(state, port, server) as run:
        assert run.stop(signal.SIGTERM) == 0
    for path in (state / "sinks").iterdir():
        path.rename(state / path.name)
        os.chown(state / path.name, 0, 0)
    (state / "sinks").rmdir()
    server.answers = [success(1, 0)]
    server.requests.clear()
    with make_run(state, port, server) as again:
        assert again.stop(signal.SIGTERM) == 0
    assert_all_arrived(server, run.documents)
    assert [path.name for path in state.iterdir() if path.name.startswith("spool")] == []


def test_with_the_rights_of_the_service(state: Path, port: int, server: FakeServer) -> None:
    """Without those to give files away, and to kill processes of others."""
    unit = Path("packaging/systemd/nfszbx.service").read_text()
    (line,) = re.findall(r"^CapabilityBoundingSet=(.*)$", unit, re.MULTILINE)
    rights = ",".join(f"+{name.removeprefix('CAP_').lower()}" for name in line.split())
    before = ["setpriv", f"--bounding-set=-all,{rights}", "--inh-caps=-all", "--no-new-privs"]
    environment = {**os.environ, "NFSZBX_STATE_DIRECTORY": str(state)}
    subprocess.run([*NFSZBX, "prepare"], env=environment, check=True)
    with make_run(state, port, server, before) as run:
        pid = find_sinks(run)
        assert {int(read_status(pid)[name], 16) for name in CAPABILITIES} == {0}
        os.kill(pid, signal.SIGSTOP)
        find_another(run, pid)
        assert wait_until_gone(pid)
        while run.wait_for_dump()["health"]["state_kept"] == 0:
            pass  # the new process has not begun to write yet
        assert run.stop(signal.SIGTERM) == 0
    assert_all_arrived(server, run.documents)
    assert not [line for line in run.log_lines if "cannot" in line]

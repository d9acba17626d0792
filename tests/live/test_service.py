"""Under systemd, or what looks like it: a socket that is told how nfszbx does."""

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.running import NfszbxRun
from tests.live.service import Service
from tests.network import free_port
from tests.requirements import require

pytestmark = pytest.mark.live


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    require("bpftrace")
    service = Service(tmp_path)
    with service.run:
        yield service
    service.close()


def test_ready_means_that_it_counts(service: Service) -> None:
    service.wait_for("READY=1".__eq__)
    assert service.run.child_pids()
    assert service.messages[0] == "STATUS=starting bpftrace"
    assert service.wait_for(lambda m: m.startswith("STATUS=measuring")) == (
        "STATUS=measuring nfsd, smbd, ksmbd every 1 s"
    )
    service.wait_for("WATCHDOG=1".__eq__)
    assert service.run.stop(signal.SIGTERM) == 0
    service.wait_for("STOPPING=1".__eq__)


def test_reload(service: Service) -> None:
    service.wait_for("READY=1".__eq__)
    service.reload("interval_seconds = 2\nmax_clients = 3\nbpftrace = '/bin/true'\n")
    service.wait_for(lambda m: m.startswith("RELOADING=1\nMONOTONIC_USEC="))
    service.wait_for("READY=1".__eq__)
    service.wait_for(lambda m: m.endswith("every 2 s"))
    document = service.run.wait_for_dump()
    assert set(document["health"]["child_restarts_total"].values()) == {0}

    service.reload("interval_seconds = 0\n")
    service.wait_for("READY=1".__eq__)
    told = service.wait_for(lambda m: "not reloaded" in m)
    assert told.startswith("STATUS=measuring nfsd, smbd, ksmbd every 2 s; not reloaded: 1 setting")
    assert "interval_seconds" in told
    before = service.run.wait_for_dump()["time"]
    assert service.run.wait_for_dump()["time"] - before > 1.5

    service.reload("interval_seconds = 1\n")
    assert service.wait_for(lambda m: m.endswith("every 1 s"))
    assert service.run.process.poll() is None
    assert service.run.stop(signal.SIGTERM) == 0
    log = "".join(service.run.log_lines)
    assert "these wait for a restart: bpftrace" in log
    assert "configuration reloaded; changed: bpftrace, interval_seconds, max_clients" in log


def test_without_systemd_a_hang_up_ends_it() -> None:
    require("bpftrace")
    with NfszbxRun() as run:
        assert run.stop(signal.SIGHUP) == 0


def test_reload_of_the_sinks(tmp_path: Path) -> None:
    """Their process begins anew, counting goes on; one that cannot begin leaves the old one."""
    require("bpftrace")
    ports = [free_port() for _ in range(3)]
    text = "interval_seconds = 1\n[prometheus]\nport = {}\n"
    first = f"[prometheus]\nport = {ports[0]}\n"
    service = Service(tmp_path, first, ["--sink", "prometheus"])
    with service.run as run:
        service.wait_for("READY=1".__eq__)
        children = run.child_pids()
        connect(ports[0])
        service.reload(text.format(ports[1]))
        service.wait_for(lambda m: m.startswith("RELOADING=1"))
        service.wait_for("READY=1".__eq__)
        connect(ports[1])
        with pytest.raises(ConnectionRefusedError):
            connect(ports[0])
        with socket.create_server(("127.0.0.1", ports[2])):
            service.reload(text.format(ports[2]))
            told = service.wait_for(lambda m: "not reloaded" in m)
            assert f"cannot listen on 127.0.0.1 port {ports[2]}: Address already in use" in told
        run.wait_for_dump()
        run.wait_for_dump()
        connect(ports[1])
        assert run.child_pids() == children
        assert run.stop(signal.SIGTERM) == 0
    service.close()
    numbers = [document["health"]["intervals_total"] for document in run.documents]
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert all(document["complete"] for document in run.documents)
    assert run.documents[-1]["health"]["sinks_restarts_total"] == 0


def connect(port: int) -> None:
    socket.create_connection(("127.0.0.1", port)).close()

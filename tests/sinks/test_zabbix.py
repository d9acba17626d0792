"""Values arrive in a real Zabbix server, and a refusal is told with what may have caused it."""

import json
import signal
import socket
import threading
import time

import pytest

from nfszbx import catalog
from nfszbx.config import ZabbixConfig
from nfszbx.errors import SinkRefusedError, SinkUnavailableError
from nfszbx.samples import Sample, Samples
from nfszbx.sinks.zabbix import CLIENTS_KEY, TOTALS_KEY, ZabbixSink
from tests.live.running import NfszbxRun
from tests.network import free_port
from tests.sinks.zabbix_server import ZabbixServer

TEXT = 4
ITEMS = {TOTALS_KEY: TEXT, CLIENTS_KEY: TEXT}
SAMPLES = Samples(
    1_790_000_000.5,
    complete=True,
    samples=(
        Sample(catalog.RECEIVE_BYTES, ("smbd", "tcp"), 12),
        Sample(catalog.CLIENT_RECEIVE_BYTES, ("smbd", "tcp", "::1"), 12),
        Sample(catalog.CHILD_UP, (), 1),
    ),
)


def make_sink(port: int, host: str, server: str = "127.0.0.1") -> ZabbixSink:
    return ZabbixSink(ZabbixConfig(server=server, port=port, host=host, timeout_seconds=2))


def test_documents_arrive_with_their_own_time(zabbix: ZabbixServer) -> None:
    host_id = zabbix.create_host("server 1", ITEMS)
    make_sink(zabbix.trapper_port, "server 1").deliver(SAMPLES)
    (totals,) = zabbix.wait_for_history(host_id, TOTALS_KEY, 1)
    (clients,) = zabbix.wait_for_history(host_id, CLIENTS_KEY, 1)
    assert (totals.clock, totals.ns) == (clients.clock, clients.ns) == (1_790_000_000, 500_000_000)
    assert json.loads(totals.value) == {
        "time": 1_790_000_000.5,
        "complete": True,
        "services": {"smbd": {"receive_bytes_total": 12}},
        "health": {"child_up": 1},
    }
    row = {
        "id": "smbd ::1",
        "service": "smbd",
        "transport": "tcp",
        "client": "::1",
        "receive_bytes_total": 12,
    }
    assert json.loads(clients.value)["clients"] == [row]


def test_whole_second_has_a_nanosecond(zabbix: ZabbixServer) -> None:
    """Zabbix 7.0 takes ns 0 for none, and would then choose one itself."""
    host_id = zabbix.create_host("server 2", ITEMS)
    make_sink(zabbix.trapper_port, "server 2").deliver(Samples(1_790_000_000.0, True, ()))  # noqa: FBT003  as in the class
    (totals,) = zabbix.wait_for_history(host_id, TOTALS_KEY, 1)
    assert (totals.clock, totals.ns) == (1_790_000_000, 1)


@pytest.mark.parametrize(
    ("items", "refused"), [(None, 2), ({TOTALS_KEY: TEXT}, 1)], ids=["host", "item"]
)
def test_refusal_is_told(zabbix: ZabbixServer, items: dict[str, int] | None, refused: int) -> None:
    host = f"refusing {refused}"
    if items:
        zabbix.create_host(host, items)
    with pytest.raises(SinkRefusedError, match=f"refused {refused} of 2 values for host") as error:
        make_sink(zabbix.trapper_port, host).deliver(SAMPLES)
    assert f"'{host}'" in str(error.value)
    for cause in ("does not know the host", CLIENTS_KEY, "Zabbix trapper", "encryption"):
        assert cause in str(error.value)


@pytest.mark.parametrize(
    ("server", "message"),
    [
        ("127.0.0.1", "Connection refused"),
        ("::1", "Connection refused"),
        ("no-such-host.invalid", "Name or service not known|name resolution"),
    ],
)
def test_unavailable_server_is_told_with_the_cause(server: str, message: str) -> None:
    with pytest.raises(SinkUnavailableError, match=message):
        make_sink(free_port(), "any", server).deliver(SAMPLES)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"ZBXD\x01\x05"])
def test_answer_that_is_none_is_told(answer: bytes) -> None:
    """Something else listens there."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        sink = make_sink(server.getsockname()[1], "any")

        def respond() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=respond)
        thread.start()
        with pytest.raises(SinkUnavailableError, match=r"Zabbix at 127\.0\.0\.1 port"):
            sink.deliver(SAMPLES)
        thread.join()


def test_server_that_accepts_and_never_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        sink = make_sink(server.getsockname()[1], "any")
        with pytest.raises(SinkUnavailableError, match="timed out"):
            sink.deliver(SAMPLES)


def test_run_sends_every_interval(zabbix: ZabbixServer) -> None:
    """The whole program, beside the console, and a refusal at first: nothing else is disturbed."""
    host = "file server"
    flags = ["--sink", "zabbix", "--zabbix-host", host, "--zabbix-port", str(zabbix.trapper_port)]
    with NfszbxRun(flags) as run:
        run.wait_for_dump()
        run.wait_for_dump()
        assert any("refused 2 of 2 values" in line for line in run.log_lines)
        host_id = zabbix.create_host(host, ITEMS)
        called = time.time()
        totals = zabbix.wait_for_history(host_id, TOTALS_KEY, 3)
        assert run.stop(signal.SIGTERM) == 0
    printed = {document["time"]: document for document in run.documents}
    for value in totals:
        document = json.loads(value.value)
        assert document["services"] == printed[document["time"]]["services"]
        assert document["time"] == pytest.approx(value.clock + value.ns / 1e9, abs=0.001)
        assert document["time"] > called - 5
    assert any("zabbix works again" in line for line in run.log_lines)
    assert run.documents[-1]["health"]["sink_delivered_total"]["zabbix"] >= 2

"""Values arrive in a real Zabbix server, once and with their own time, whatever happens to it."""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nfszbx import catalog
from nfszbx.config import Config
from nfszbx.samples import ClientBytes, Sample, Samples
from nfszbx.sinks.spooled import SpooledSink
from nfszbx.sinks.zabbix import make_clusters, open_zabbix
from nfszbx.zabbix_keys import CLIENTS_KEY, TOTALS_KEY
from tests.live.running import NfszbxRun
from tests.sinks.zabbix_server import ZabbixServer

TEXT = 4
ITEMS = {TOTALS_KEY: TEXT, CLIENTS_KEY: TEXT}
STOP_SECONDS = 10.0


def make_samples(unix_seconds: float, received: int = 12, client: str = "::1") -> Samples:
    samples = (
        Sample(catalog.RECEIVE_BYTES, ("smbd", "tcp"), received),
        Sample(catalog.CHILD_UP, (), 1),
    )
    client_bytes: ClientBytes = {
        (catalog.CLIENT_RECEIVE_BYTES, ("smbd", "tcp")): {client: received}
    }
    return Samples(
        unix_seconds,
        complete=True,
        samples=samples,
        seconds=10.0,
        timed=True,
        client_bytes=client_bytes,
    )


@contextmanager
def sink(
    directory: Path, host: str, *servers: str, tls: dict[str, str] | None = None
) -> Iterator[SpooledSink]:
    zabbix = {
        "tls": tls or {},
        "servers": servers,
        "host": host,
        "timeout_seconds": 2,
        "clients_interval_seconds": 10,
        "client_retention_days": 1,
    }
    config = Config.model_validate({"zabbix": zabbix})
    sink = open_zabbix(config, directory, make_clusters(config.zabbix))
    try:
        yield sink
    finally:
        sink.stop(STOP_SECONDS)


def address(zabbix: ZabbixServer) -> str:
    return f"127.0.0.1:{zabbix.trapper_port}"


def test_documents_arrive_with_their_own_time(zabbix: ZabbixServer, tmp_path: Path) -> None:
    host_id = zabbix.create_host("server 1", ITEMS)
    with sink(tmp_path, "server 1", address(zabbix)) as opened:
        opened.put(make_samples(1_790_000_000.5))
        (totals,) = zabbix.wait_for_history(host_id, TOTALS_KEY, 1)
        (clients,) = zabbix.wait_for_history(host_id, CLIENTS_KEY, 1)
    assert (totals.clock, totals.ns) == (clients.clock, clients.ns) == (1_790_000_000, 500_000_000)
    assert json.loads(totals.value) == {
        "time": 1_790_000_000.5,
        "complete": True,
        "services": {"smbd": {"receive_bytes_total": 12}},
        "health": {"child_up": 1},
    }
    rows = {row["id"]: row for row in json.loads(clients.value)["clients"]}
    assert rows == {
        "smbd ::1": {
            "id": "smbd ::1",
            "service": "smbd",
            "transport": "tcp",
            "client": "::1",
            "receive_bytes_total": 12,
            "receive_bytes_per_second": 1.2,
        },
        "smbd other": {
            "id": "smbd other",
            "service": "smbd",
            "transport": "tcp",
            "client": "other",
            "receive_bytes_total": 0,
            "receive_bytes_per_second": 0,
        },
    }


def test_whole_second_has_a_nanosecond(zabbix: ZabbixServer, tmp_path: Path) -> None:
    """Zabbix 7.0 takes ns 0 for none, and would then choose one itself."""
    host_id = zabbix.create_host("server 2", ITEMS)
    with sink(tmp_path, "server 2", address(zabbix)) as opened:
        opened.put(make_samples(1_790_000_000.0))
        (totals,) = zabbix.wait_for_history(host_id, TOTALS_KEY, 1)
    assert (totals.clock, totals.ns) == (1_790_000_000, 1)


def test_refusal_is_told_and_nothing_lost(
    zabbix: ZabbixServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The host is made after the values; Zabbix takes them as soon as it knows it."""
    monkeypatch.setattr("nfszbx.sinks.spooled.REFUSED_SECONDS", 0.2)
    with sink(tmp_path, "made later", address(zabbix)) as opened:
        for second in range(5):
            opened.put(make_samples(1_790_000_000.0 + 10 * second))
        deadline = time.monotonic() + STOP_SECONDS
        while caplog.text.count("refuses") < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for cause in ("does not know the host 'made later'", "Zabbix trapper", "encryption"):
            assert cause in caplog.text
        host_id = zabbix.create_host("made later", ITEMS)
        for key in ITEMS:
            values = zabbix.wait_for_history(host_id, key, 5)
            assert [v.clock for v in values] == [1_790_000_000 + 10 * n for n in range(5)]


def test_server_that_is_down_does_not_hold_the_other(
    zabbix: ZabbixServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    host_id = zabbix.create_host("server 3", ITEMS)
    with sink(tmp_path, "server 3", "127.0.0.1:1", f"127.0.0.1:1; {address(zabbix)}") as opened:
        opened.put(make_samples(1_790_000_000.0))
        zabbix.wait_for_history(host_id, TOTALS_KEY, 1)
        down, up = opened.healths()
        assert down.queue_length == 2
        assert up.name == f"zabbix 127.0.0.1:1;{address(zabbix)}"
    assert "zabbix 127.0.0.1:1: Connection refused" in caplog.text


def test_run_sends_every_interval(zabbix: ZabbixServer, state: Path) -> None:
    """The whole program; what was measured before the host existed arrives as well."""
    host = "file server"
    environment = {
        "NFSZBX_STATE_DIRECTORY": str(state),
        "NFSZBX_ZABBIX__CLIENTS_INTERVAL_SECONDS": "2",
    }
    flags = ["--sink", "zabbix", "--zabbix-host", host, "--zabbix-server", address(zabbix)]
    with NfszbxRun(flags, environment) as run:
        run.wait_for_dump()
        host_id = zabbix.create_host(host, ITEMS)
        run.wait_for_dump()
        assert run.stop(signal.SIGTERM) == 0
        assert any(f"refuses {TOTALS_KEY}" in line for line in run.log_lines)
    with NfszbxRun(flags, environment) as again:
        again.wait_for_dump()
        assert again.stop(signal.SIGTERM) == 0
    documents = run.documents + again.documents
    totals = zabbix.wait_for_history(host_id, TOTALS_KEY, len(documents))
    assert [json.loads(value.value)["time"] for value in totals] == [d["time"] for d in documents]
    for value, document in zip(totals, documents, strict=True):
        assert json.loads(value.value)["services"] == document["services"]
        assert document["time"] == pytest.approx(value.clock + value.ns / 1e9, abs=0.001)
    clients = zabbix.wait_for_history(host_id, CLIENTS_KEY, 1)
    assert {value.clock for value in clients} < {value.clock for value in totals}

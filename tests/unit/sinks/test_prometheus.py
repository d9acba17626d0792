"""The endpoint, over real connections to loopback."""

import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from nfszbx import catalog
from nfszbx.config import PrometheusConfig
from nfszbx.errors import SinkStartError
from nfszbx.samples import Sample, Samples
from nfszbx.sinks import prometheus
from nfszbx.sinks.prometheus import PrometheusSink
from tests.network import free_port


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def sink(port: int) -> Iterator[PrometheusSink]:
    opened = PrometheusSink(PrometheusConfig(port=port))
    yield opened
    opened.close()


def scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        text: str = page.read().decode()
    return text


def client_samples(*clients: str) -> Samples:
    return Samples(
        0.0,
        complete=True,
        samples=(
            Sample(catalog.RECEIVE_BYTES, ("smbd",), 2**53 - 1),
            Sample(catalog.RECEIVE_RATE, ("smbd",), 1.5),
            *(Sample(catalog.CLIENT_RECEIVE_BYTES, ("smbd", client), 7) for client in clients),
        ),
    )


def test_metrics(sink: PrometheusSink, port: int) -> None:
    sink.deliver(client_samples("::1"))
    text = scrape(port)
    assert "# TYPE nfszbx_receive_bytes_total counter" in text
    (line,) = [line for line in text.splitlines() if line.startswith("nfszbx_receive_bytes_total")]
    assert float(line.removeprefix('nfszbx_receive_bytes_total{service="smbd"} ')) == 2**53 - 1
    assert 'nfszbx_client_receive_bytes_total{client="::1",service="smbd"} 7.0' in text
    assert "per_second" not in text  # Prometheus has rate()
    assert "process_resident_memory_bytes" in text


def test_client_that_left_is_gone(sink: PrometheusSink, port: int) -> None:
    sink.deliver(client_samples("10.0.0.1", "10.0.0.2"))
    sink.deliver(client_samples("10.0.0.2"))
    text = scrape(port)
    assert "10.0.0.1" not in text
    assert "10.0.0.2" in text


def test_before_the_first_interval(sink: PrometheusSink, port: int) -> None:
    assert sink.name == "prometheus"
    assert "nfszbx_" not in scrape(port)


def test_port_in_use(sink: PrometheusSink, port: int) -> None:
    assert sink.name == "prometheus"
    with pytest.raises(SinkStartError, match=f"port {port}: Address already in use") as e:
        PrometheusSink(PrometheusConfig(port=port))
    assert "--prometheus-port" in e.value.hint
    assert e.value.exit_code == 6


def test_address_that_is_not_ours(port: int) -> None:
    with pytest.raises(SinkStartError, match=r"203\.0\.113\.1"):
        PrometheusSink(PrometheusConfig(address="203.0.113.1", port=port))


def test_ipv6_address(port: int) -> None:
    sink = PrometheusSink(PrometheusConfig(address="::1", port=port))
    try:
        with urllib.request.urlopen(f"http://[::1]:{port}/metrics", timeout=10) as page:
            assert page.status == 200
    finally:
        sink.close()


def test_idle_connections_do_not_keep_scrapes_out(
    monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    """More of them than there are places: each is closed at its deadline, and a scrape passes."""
    monkeypatch.setattr(prometheus, "CONNECTION_TIMEOUT_SECONDS", 0.2)
    sink = PrometheusSink(PrometheusConfig(port=port))
    idle = [
        socket.create_connection(("127.0.0.1", port)) for _ in range(prometheus.MAX_CONNECTIONS + 2)
    ]
    try:
        assert "process_" in scrape(port)
    finally:
        for connection in idle:
            connection.close()
        sink.close()

"""The endpoint, over real connections to loopback."""

import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

from nfszbx import catalog
from nfszbx.config import PrometheusConfig
from nfszbx.errors import SinkStartError
from nfszbx.samples import Sample, Samples
from nfszbx.sinks import prometheus
from nfszbx.sinks.prometheus import PrometheusSink, listen
from tests.network import free_port
from tests.operations import make_operations


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def sink(port: int) -> Iterator[PrometheusSink]:
    opened = PrometheusSink(listen(PrometheusConfig(port=port)))
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
            Sample(catalog.RECEIVE_BYTES, ("smbd", "tcp"), 2**53 - 1),
            Sample(catalog.RECEIVE_RATE, ("smbd", "tcp"), 1.5),
            *(
                Sample(catalog.CLIENT_RECEIVE_BYTES, ("smbd", "tcp", client), 7)
                for client in clients
            ),
        ),
    )


def test_metrics(sink: PrometheusSink, port: int) -> None:
    sink.deliver(client_samples("::1"))
    text = scrape(port)
    assert "# TYPE nfszbx_receive_bytes_total counter" in text
    (line,) = [line for line in text.splitlines() if line.startswith("nfszbx_receive_bytes_total")]
    assert (
        float(line.removeprefix('nfszbx_receive_bytes_total{service="smbd",transport="tcp"} '))
        == 2**53 - 1
    )
    assert (
        'nfszbx_client_receive_bytes_total{client="::1",service="smbd",transport="tcp"} 7.0' in text
    )
    assert "per_second" not in text  # Prometheus has rate()
    assert "process_resident_memory_bytes" in text


def operation_samples(operations: tuple[Sample, ...] | None) -> Samples:
    return Samples(0.0, complete=True, samples=(), operations=operations)


def parse(text: str) -> dict[str, Family]:
    """By name, what the library's own parser finds."""
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_operations(sink: PrometheusSink, port: int) -> None:
    """A label that is switched off is an empty one, which Prometheus takes for none."""
    sink.deliver(operation_samples(make_operations()))
    families = parse(scrape(port))
    (operations,) = families["nfszbx_nfs_operations"].samples
    assert (operations.name, operations.value) == ("nfszbx_nfs_operations_total", 7)
    assert operations.labels == {
        "version": "4.2",
        "operation": "READ",
        "client": "10.0.0.1",
        "export": "/srv/nfs/projects",
        "user": "",
    }
    assert families["nfszbx_nfs_threads"].samples[0].value == 8
    assert families["nfszbx_nfs_errors"].samples[0].labels["status"] == "STALE"
    assert not [name for name in families if "per_second" in name or "_p95" in name]


def test_times_are_histograms(sink: PrometheusSink, port: int) -> None:
    """Cumulative and in the order of their bounds, in whatever order they come."""
    sink.deliver(operation_samples(make_operations()[::-1]))
    families = parse(scrape(port))
    family = families["nfszbx_nfs_request_seconds"]
    assert family.type == "histogram"
    labels = {"version": "4.2", "operation": "READ", "client": ""}
    buckets = [s for s in family.samples if s.name.endswith("_bucket")]
    assert [(s.labels.pop("le"), s.value) for s in buckets] == [
        *(("6.4e-05", 0), ("0.000128", 1)),
        *(("0.000256", 2), ("+Inf", 2)),
    ]
    rest = {s.name: s.value for s in family.samples if s not in buckets}
    assert rest == {
        "nfszbx_nfs_request_seconds_count": 2,
        "nfszbx_nfs_request_seconds_sum": 0.000317,
    }
    assert all(s.labels == labels for s in family.samples)
    waits = families["nfszbx_nfs_thread_wait_seconds"].samples
    assert [s.labels for s in waits if s.name.endswith(("_sum", "_count"))] == [{}, {}]


def test_operations_stay_until_there_are_new_ones(sink: PrometheusSink, port: int) -> None:
    """They come at a slower pace than the bytes."""
    sink.deliver(operation_samples(make_operations(("10.0.0.1",))))
    sink.deliver(client_samples("::1"))
    text = scrape(port)
    assert "::1" in text
    assert "10.0.0.1" in text
    sink.deliver(operation_samples(make_operations(("10.0.0.2",))))
    text = scrape(port)
    assert "10.0.0.1" not in text
    assert "10.0.0.2" in text
    sink.deliver(operation_samples(()))
    assert "nfszbx_nfs_" not in scrape(port)


def test_many_series_are_shown_quickly(sink: PrometheusSink, port: int) -> None:
    """15,000, of 1,000 clients with 5 exports: it takes 0.3 s where nothing else runs."""
    clients = tuple(f"10.0.{number // 256}.{number % 256}" for number in range(1000))
    exports = tuple(f"/srv/nfs/{number}" for number in range(5))
    sink.deliver(operation_samples(make_operations(clients, exports)))
    begin = time.monotonic()
    text = scrape(port)
    assert time.monotonic() - begin < 5.0
    assert text.count("\nnfszbx_nfs_") > 15_000


def test_client_that_left_is_gone(sink: PrometheusSink, port: int) -> None:
    sink.deliver(client_samples("10.0.0.1", "10.0.0.2"))
    sink.deliver(client_samples("10.0.0.2"))
    text = scrape(port)
    assert "10.0.0.1" not in text
    assert "10.0.0.2" in text


def test_before_the_first_interval(sink: PrometheusSink, port: int) -> None:
    """An answer without the metrics would look like a file server that has none."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        scrape(port)
    assert refused.value.code == 503
    assert refused.value.read() == (
        b"nfszbx has only just started: the first interval has not ended yet\n"
    )
    sink.deliver(client_samples("10.0.0.1"))
    assert "10.0.0.1" in scrape(port)


def test_port_in_use(sink: PrometheusSink, port: int) -> None:
    assert sink.name == "prometheus"
    with pytest.raises(SinkStartError, match=f"port {port}: Address already in use") as e:
        PrometheusSink(listen(PrometheusConfig(port=port)))
    assert "--prometheus-port" in e.value.hint
    assert e.value.exit_code == 6


def test_address_that_is_not_ours(port: int) -> None:
    with pytest.raises(SinkStartError, match=r"203\.0\.113\.1"):
        PrometheusSink(listen(PrometheusConfig(address="203.0.113.1", port=port)))


def test_ipv6_address(port: int) -> None:
    sink = PrometheusSink(listen(PrometheusConfig(address="::1", port=port)))
    sink.deliver(client_samples())
    try:
        with urllib.request.urlopen(f"http://[::1]:{port}/metrics", timeout=10) as page:
            assert page.status == 200
    finally:
        sink.close()


def test_connections_that_idle_or_trickle_are_ended(
    monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    """More of them than there are places: at the deadline of the first a scrape passes."""
    monkeypatch.setattr(prometheus, "CONNECTION_TIMEOUT_SECONDS", 1.0)
    sink = PrometheusSink(listen(PrometheusConfig(port=port)))
    sink.deliver(client_samples())
    with ExitStack() as stack:
        stack.callback(sink.close)
        connections = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            for _ in range(prometheus.MAX_CONNECTIONS)
        ]
        text = ""
        deadline = time.monotonic() + 20
        while "process_" not in text:
            assert time.monotonic() < deadline
            for connection in connections[::2]:
                with suppress(OSError):
                    connection.send(b"G")  # it would never end by itself
            with suppress(OSError):
                text = scrape(port)
            time.sleep(0.1)


def deliver_large_answer(sink: PrometheusSink) -> int:
    """Of so many bytes, more than the kernel keeps for a reader that does not read."""
    sink.deliver(client_samples(*(f"{number}{'x' * 4000}" for number in range(4000))))
    return 16_000_000


def connect_slow_reader(port: int) -> socket.socket:
    """One whose kernel keeps little for it, and that has asked."""
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    reader.connect(("127.0.0.1", port))
    reader.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
    return reader


def read_slowly(reader: socket.socket, bytes_per_second: int) -> bytes:
    """All there is; half a second is waited before each part, so that many parts take long."""
    parts, part = [], b"-"
    while part:
        time.sleep(0.5)
        part = reader.recv(bytes_per_second // 2, socket.MSG_WAITALL)
        parts.append(part)
    return b"".join(parts)


def test_large_answer_is_not_cut_while_it_is_read(
    monkeypatch: pytest.MonkeyPatch, sink: PrometheusSink, port: int
) -> None:
    """It takes four times as long as a reader may rest."""
    monkeypatch.setattr(prometheus, "CONNECTION_TIMEOUT_SECONDS", 1.0)
    size = deliver_large_answer(sink)
    with connect_slow_reader(port) as reader:
        began = time.monotonic()
        answer = read_slowly(reader, bytes_per_second=size // 4)
    assert time.monotonic() - began > 4.0
    assert len(answer) > size
    assert answer.endswith(b"\n")


def test_reader_that_stops_reading_is_reset(
    monkeypatch: pytest.MonkeyPatch, sink: PrometheusSink, port: int
) -> None:
    """All places are taken by such readers: at the deadline they are free again."""
    monkeypatch.setattr(prometheus, "CONNECTION_TIMEOUT_SECONDS", 2.0)
    monkeypatch.setattr(prometheus, "MAX_CONNECTIONS", 3)
    deliver_large_answer(sink)
    with ExitStack() as stack:
        readers = [
            stack.enter_context(connect_slow_reader(port))
            for _ in range(prometheus.MAX_CONNECTIONS)
        ]
        for reader in readers:
            assert reader.recv(100)  # its answer has begun
        sink.deliver(client_samples("10.0.0.1"))
        with pytest.raises(OSError, match=r"."):
            scrape(port)
        time.sleep(3.5)  # the deadline, how often the server looks, and a second more
        assert "10.0.0.1" in scrape(port)
        with pytest.raises(ConnectionResetError):
            read_slowly(readers[0], bytes_per_second=1_000_000)


def test_reader_that_only_trickles_is_reset_in_the_end(
    monkeypatch: pytest.MonkeyPatch, sink: PrometheusSink, port: int
) -> None:
    monkeypatch.setattr(prometheus, "CONNECTION_TIMEOUT_SECONDS", 1.0)
    monkeypatch.setattr(prometheus, "ANSWER_TIMEOUT_SECONDS", 3.0)
    size = deliver_large_answer(sink)
    with connect_slow_reader(port) as reader:
        began = time.monotonic()
        with pytest.raises(ConnectionResetError):
            read_slowly(reader, bytes_per_second=size // 40)
        assert 3.0 < time.monotonic() - began < 10.0


def test_open_connections_do_not_delay_the_stop(port: int) -> None:
    sink = PrometheusSink(listen(PrometheusConfig(port=port)))
    with ExitStack() as stack:
        for _ in range(prometheus.MAX_CONNECTIONS + 5):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        sink.close()

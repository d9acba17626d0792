"""Serves the newest samples to Prometheus. The only importer of prometheus-client.

The library's own server starts a thread for every connection without bound and without a deadline,
so its handler and its encoders run here under a server that has both.
"""

import io
import logging
import math
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, MetricsHandler, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from nfszbx.clock import monotonic_seconds
from nfszbx.errors import SinkStartError
from nfszbx.metric import SUM, Kind, Metric
from nfszbx.samples import Sample, Samples

if TYPE_CHECKING:
    from nfszbx.config import PrometheusConfig

MAX_CONNECTIONS = 16
CONNECTION_TIMEOUT_SECONDS = 10
"""For the whole request, and then for each chunk of the answer that is read."""
ANSWER_TIMEOUT_SECONDS = 60
"""For the whole answer: a minute is how often Prometheus scrapes by default."""
CHUNK_BYTES = 65_536

_RESET_AT_CLOSE = struct.pack("ii", 1, 0)
_SEND_AFTER_CLOSE = struct.pack("ii", 0, 0)

_log = logging.getLogger(__name__)


class _SamplesCollector(Collector):
    """Makes the metrics of a scrape from the newest samples: a client that left is gone."""

    def __init__(self) -> None:
        self._samples: tuple[Sample, ...] = ()
        self._operations: list[Family] = []
        """Made once: they are many, and stay the same for several scrapes."""

    def show(self, samples: Samples) -> None:
        """From now on; operations stay until there is something new to say of them."""
        self._samples = samples.samples
        if samples.operations is not None:
            self._operations = [*_make_families(samples.operations)]

    def collect(self) -> Iterator[Family]:
        yield from _make_families(self._samples)
        yield from self._operations


def _make_families(samples: Iterable[Sample]) -> Iterator[Family]:
    """Of each metric one; without rates, which Prometheus makes of counters, over any time."""
    rows: dict[Metric, list[Sample]] = {}
    for sample in samples:
        if sample.metric.kind is not Kind.RATE:
            rows.setdefault(sample.metric, []).append(sample)
    for metric, row in rows.items():
        if metric.kind is Kind.HISTOGRAM:
            yield _make_histogram(metric, row)
            continue
        make = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
        family = make(metric.name, metric.help, labels=metric.labels)
        for _, labels, value in row:
            family.add_metric(labels, value)
        yield family


def _make_histogram(metric: Metric, samples: Iterable[Sample]) -> HistogramMetricFamily:
    """Of samples whose last label is the upper bound of a bucket, or says that it is the sum."""
    rows: dict[tuple[str, ...], dict[str, float]] = {}
    for _, (*labels, bound), value in samples:
        rows.setdefault(tuple(labels), {})[bound] = value
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels[:-1])
    for key, row in rows.items():
        total = row.pop(SUM)
        buckets = sorted(row.items(), key=lambda bucket: float(bucket[0]))
        family.add_metric(key, buckets, total)
    return family


class Listener(ThreadingHTTPServer):
    """At most so many connections at once; one more is closed at once.

    The deadline is that of the whole request: one that trickles in byte by byte meets it as well
    as an idle one.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, config: "PrometheusConfig") -> None:
        is_ipv6 = ":" in config.address
        self.address_family = socket.AF_INET6 if is_ipv6 else socket.AF_INET
        self.host = f"[{config.address}]" if is_ipv6 else config.address
        self._lock = threading.Lock()
        self._deadlines: dict[socket.socket, float] = {}
        self.has_samples = False
        """An answer without any would say that nothing is known of the server, and look well."""
        super().__init__((config.address, config.port), MetricsHandler)

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ANN401  typeshed's own
        """Is there room for one more?"""
        del client_address
        with self._lock:
            if len(self._deadlines) >= MAX_CONNECTIONS:
                return False
            self._deadlines[request] = monotonic_seconds() + CONNECTION_TIMEOUT_SECONDS
        return True

    def end_deadline(self, connection: socket.socket) -> None:
        """The request is there."""
        with self._lock:
            self._deadlines[connection] = math.inf

    def service_actions(self) -> None:
        """Every half second: end what is overdue. Its thread notices and closes it."""
        self.end_connections(monotonic_seconds())

    def end_connections(self, now: float) -> None:
        """Cut the connections whose deadline is before ``now``."""
        with self._lock:
            for connection, deadline in self._deadlines.items():
                if deadline < now:
                    with suppress(OSError):
                        connection.shutdown(socket.SHUT_RDWR)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401  typeshed's own
        """It has ended."""
        with self._lock:
            self._deadlines.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401  typeshed's own
        """A scraper that goes away in the middle is its own business."""


class _ChunkWriter(io.BufferedIOBase):
    """Writes in chunks, and calls what limits each of them before it."""

    def __init__(self, file: io.BufferedIOBase, limit_chunk: Callable[[], None]) -> None:
        self._file = file
        self._limit_chunk = limit_chunk

    def write(self, data: Any, /) -> int:  # noqa: ANN401  any buffer
        with memoryview(data) as whole:
            for begin in range(0, whole.nbytes, CHUNK_BYTES):
                self._limit_chunk()
                self._file.write(whole[begin : begin + CHUNK_BYTES])
            return whole.nbytes


class _Handler(MetricsHandler):
    """Gives a large answer the time that it takes, as long as it is read.

    A connection whose answer ends before its end is reset: a half that ends with a line would look
    like the whole.
    """

    server: Listener
    error_message_format = "%(explain)s\n"
    error_content_type = "text/plain"

    def do_GET(self) -> None:  # noqa: N802  http.server's own
        """Making the answer takes what it takes; the reader can do nothing to prolong that."""
        if not self.server.has_samples:
            why = "nfszbx has only just started: the first interval has not ended yet"
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, explain=why)
            return
        self.server.end_deadline(self.connection)
        self._end = monotonic_seconds() + ANSWER_TIMEOUT_SECONDS
        # The kernel would otherwise tell only after megabytes that the reader goes on reading.
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, CHUNK_BYTES)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
        self.wfile = _ChunkWriter(self.wfile, self._limit_chunk)
        try:
            super().do_GET()
        except OSError:
            self.connection.close()  # before the server ends it, as if the answer were whole
            raise
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _SEND_AFTER_CLOSE)

    def _limit_chunk(self) -> None:
        left = self._end - monotonic_seconds()
        if left <= 0:
            raise TimeoutError
        self.connection.settimeout(min(left, CONNECTION_TIMEOUT_SECONDS))


def listen(config: "PrometheusConfig") -> Listener:
    """Nobody is answered yet. Raises :class:`SinkStartError` when the address cannot be had."""
    try:
        return Listener(config)
    except OSError as error:
        raise SinkStartError(
            f"the Prometheus endpoint cannot listen on {config.address} port {config.port}: "
            f"{error.strerror}",
            "choose another with --prometheus-port or --prometheus-address",
        ) from None


class PrometheusSink:
    """The endpoint ``http://ADDRESS:PORT/metrics``."""

    name = "prometheus"

    def __init__(self, server: Listener) -> None:
        """Answer whoever connects."""
        self._collector = _SamplesCollector()
        registry = CollectorRegistry()
        registry.register(self._collector)
        ProcessCollector(registry=registry)
        self._server = server
        self._server.RequestHandlerClass = _Handler.factory(registry)
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="prometheus", daemon=True
        )
        self._thread.start()
        _log.info("Prometheus endpoint: http://%s:%d/metrics", server.host, server.server_port)

    def deliver(self, samples: Samples) -> None:
        """Show these samples from now on."""
        self._collector.show(samples)
        self._server.has_samples = True

    def close(self) -> None:
        """Stop listening, and end connections without a request; answers have their own limit."""
        self._server.shutdown()
        self._server.server_close()
        self._server.end_connections(math.inf)
        self._thread.join()

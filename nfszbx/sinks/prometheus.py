"""Serves the newest samples to Prometheus. The only importer of prometheus-client.

The library's own server starts a thread for every connection without bound and without a deadline,
so its handler and its encoders run under a server here that has both.
"""

import logging
import socket
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry, MetricsHandler, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from nfszbx.catalog import Kind, Metric
from nfszbx.config import PrometheusConfig
from nfszbx.errors import SinkStartError
from nfszbx.samples import Samples

MAX_CONNECTIONS = 16
CONNECTION_TIMEOUT_SECONDS = 10

_log = logging.getLogger(__name__)


class _SamplesCollector(Collector):
    """Makes the metrics of a scrape from the newest samples: a client that left is gone."""

    def __init__(self) -> None:
        self.samples: Samples | None = None

    def collect(self) -> Iterator[Family]:
        families: dict[Metric, CounterMetricFamily | GaugeMetricFamily] = {}
        for sample in self.samples.samples if self.samples else ():
            metric = sample.metric
            if metric.kind is Kind.RATE:
                continue  # Prometheus derives rates from counters, over any time it is asked for
            if metric not in families:
                make = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
                families[metric] = make(metric.name, metric.help, labels=metric.labels)
            families[metric].add_metric(sample.labels, sample.value)
        yield from families.values()


class _Server(ThreadingHTTPServer):
    """At most so many connections at once; the next one waits in the kernel's queue."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, family: int, address: tuple[str, int], handler: Any) -> None:  # noqa: ANN401  typeshed's own
        self.address_family = socket.AddressFamily(family)
        self._free = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401  typeshed's own
        self._free.acquire()
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401  typeshed's own
        super().shutdown_request(request)
        self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401  typeshed's own
        """A scraper that goes away in the middle is its own business."""


class PrometheusSink:
    """The endpoint ``http://ADDRESS:PORT/metrics``."""

    name = "prometheus"

    def __init__(self, config: PrometheusConfig) -> None:
        """Listen. Raises :class:`SinkStartError` when the address cannot be had."""
        self._collector = _SamplesCollector()
        registry = CollectorRegistry()
        registry.register(self._collector)
        ProcessCollector(registry=registry)
        attributes = {"registry": registry, "timeout": CONNECTION_TIMEOUT_SECONDS}
        handler = type("Handler", (MetricsHandler,), attributes)
        family = socket.AF_INET6 if ":" in config.address else socket.AF_INET
        try:
            self._server = _Server(family, (config.address, config.port), handler)
        except OSError as error:
            raise SinkStartError(
                f"the Prometheus endpoint cannot listen on {config.address} port {config.port}: "
                f"{error.strerror}",
                "choose another with --prometheus-port or --prometheus-address",
            ) from None
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="prometheus", daemon=True
        )
        self._thread.start()
        host = f"[{config.address}]" if ":" in config.address else config.address
        _log.info("Prometheus endpoint: http://%s:%d/metrics", host, config.port)

    def deliver(self, samples: Samples) -> None:
        """Show these samples from now on."""
        self._collector.samples = samples

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

"""NFS operations in a real Prometheus: percentiles and sums are what went in."""

import urllib.request
from pathlib import Path
from typing import NamedTuple

import pytest

from nfszbx.config import PrometheusConfig
from nfszbx.samples import Sample, Samples
from nfszbx.sinks.prometheus import PrometheusSink, listen
from tests.network import free_port
from tests.operations import make_operations
from tests.prometheus_server import lint, query, query_until, run_prometheus


class Growing(NamedTuple):
    """A server whose counters have grown so many times."""

    sink: PrometheusSink
    base: tuple[Sample, ...]

    def deliver(self, times: int) -> None:
        grown = tuple(
            sample._replace(value=sample.value * times)
            if sample.metric.name.endswith(("_total", "request_seconds", "wait_seconds"))
            else sample
            for sample in self.base
        )
        self.sink.deliver(Samples(0.0, complete=True, samples=(), operations=grown))


def test_prometheus_makes_percentiles_and_sums(tmp_path: Path) -> None:
    """Of requests of which half take up to 128, the other half up to 256 microseconds."""
    port = free_port()
    sink = PrometheusSink(listen(PrometheusConfig(port=port)))
    server = Growing(sink, make_operations(("10.0.0.1", "::1"), ("/srv/a b", '/srv/"c')))
    server.deliver(1)
    with run_prometheus(port, tmp_path) as address:
        try:
            query_until(address, "nfszbx_nfs_threads", ())
            server.deliver(100)
            quantile = (
                "histogram_quantile({}, sum by (operation, le) "
                "(rate(nfszbx_nfs_request_seconds_bucket[1m])))"
            )
            read = ("operation",)
            p95 = query_until(address, quantile.format(0.95), ("READ",), read)
            assert p95 == pytest.approx(0.000128 + 0.9 * 0.000128)
            median = query_until(address, quantile.format(0.5), ("READ",), read)
            assert median == pytest.approx(0.000128)
            average = (
                "rate(nfszbx_nfs_thread_wait_seconds_sum[1m])"
                " / rate(nfszbx_nfs_thread_wait_seconds_count[1m])"
            )
            assert query_until(address, average, ()) == pytest.approx(0.000211 / 2)
            by_export = "sum by (export) (nfszbx_nfs_operations_total{user=''})"
            assert query(address, by_export, ("export",)) == {
                ("/srv/a b",): 1400,
                ('/srv/"c',): 1400,
            }
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
                assert lint(page.read()) == (0, b"", b"")
        finally:
            sink.close()

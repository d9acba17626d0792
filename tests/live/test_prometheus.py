"""Prometheus, Debian's package, scrapes nfszbx and answers queries about it."""

import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.running import NfszbxRun
from tests.live.samba import SambaServer
from tests.network import free_port
from tests.prometheus_server import lint, query, query_until, run_prometheus


@pytest.fixture
def nfszbx_port() -> int:
    return free_port()


@pytest.fixture
def prometheus(nfszbx_port: int, tmp_path: Path) -> Iterator[str]:
    """The address of a Prometheus that scrapes nfszbx every second."""
    with run_prometheus(nfszbx_port, tmp_path) as address:
        yield address


def test_prometheus_scrapes_rates(
    samba: SambaServer, nfszbx_port: int, prometheus: str, tmp_path: Path
) -> None:
    """A query returns rates per service and client; promtool finds nothing to complain about."""
    payload = tmp_path / "payload"
    payload.write_bytes(b"x" * 5_000_000)
    flags = ["--sink", "prometheus", "--prometheus-port", str(nfszbx_port)]
    with NfszbxRun(flags) as run, samba.connect("127.0.1.1") as client:
        for _ in range(4):
            client.start(f'put "{payload}" p')
            client.finish()
            run.wait_for_dump()
        query_until(prometheus, "rate(nfszbx_receive_bytes_total[30s])", ("smbd",))
        query_until(
            prometheus, "rate(nfszbx_client_receive_bytes_total[30s])", ("smbd", "127.0.2.1")
        )
        rest = (
            "nfszbx_receive_bytes_total"
            " - on(service) sum by (service) (nfszbx_client_receive_bytes_total)"
        )
        assert query(prometheus, rest)["smbd",] == 0  # the rows add up, in every scrape

        with urllib.request.urlopen(f"http://127.0.0.1:{nfszbx_port}/metrics", timeout=10) as page:
            text = page.read()
        assert lint(text) == (0, b"", b"")

        # At rest, what Prometheus has stored is what the console says.
        document = run.wait_for_dump()
        stored = query_until(prometheus, "nfszbx_client_receive_bytes_total", ("smbd", "127.0.2.1"))
        row = next(r for r in document["clients"] if r["id"] == "smbd 127.0.2.1")
        assert 20_000_000 < stored <= row["receive_bytes_total"] + 10_000
        assert run.stop(signal.SIGTERM) == 0

"""Prometheus, Debian's package, scrapes nfszbx and answers queries about it."""

import json
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.live.running import NfszbxRun
from tests.live.samba import SambaServer
from tests.network import free_port
from tests.requirements import require

QUERY_SECONDS = 60.0


@pytest.fixture
def nfszbx_port() -> int:
    return free_port()


@pytest.fixture
def prometheus(nfszbx_port: int, tmp_path: Path) -> Iterator[str]:
    """The address of a Prometheus that scrapes nfszbx every second."""
    require("prometheus", "promtool")
    config = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [
            {
                "job_name": "nfszbx",
                "static_configs": [{"targets": [f"127.0.0.1:{nfszbx_port}"]}],
            }
        ],
    }
    config_path = tmp_path / "prometheus.yml"
    config_path.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    address = f"127.0.0.1:{free_port()}"
    with (tmp_path / "prometheus.log").open("w") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={config_path}",
                f"--storage.tsdb.path={tmp_path / 'data'}",
                f"--web.listen-address={address}",
            ],
            stdout=log,
            stderr=log,
        )
        try:
            yield f"http://{address}"
        finally:
            process.terminate()
            process.wait(30)


def query(prometheus: str, expression: str) -> dict[tuple[str, ...], float]:
    """The values of an instant query, by the values of the labels service and client."""
    url = f"{prometheus}/api/v1/query?query={quote(expression)}"
    with urllib.request.urlopen(url, timeout=10) as response:
        answer: Any = json.load(response)
    return {
        tuple(
            series["metric"][label] for label in ("service", "client") if label in series["metric"]
        ): float(series["value"][1])
        for series in answer["data"]["result"]
    }


def query_until(prometheus: str, expression: str, key: tuple[str, ...]) -> float:
    """The value, once it is there and above zero."""
    deadline = time.monotonic() + QUERY_SECONDS
    while True:
        try:
            value = query(prometheus, expression).get(key, 0.0)
        except OSError:  # it is still starting
            value = 0.0
        if value > 0:
            return value
        assert time.monotonic() < deadline, f"no value for {key} of {expression}"
        time.sleep(0.5)


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
        lint = subprocess.run(
            ["promtool", "check", "metrics"], input=text, capture_output=True, check=False
        )
        assert (lint.returncode, lint.stdout, lint.stderr) == (0, b"", b"")

        # At rest, what Prometheus has stored is what the console says.
        document = run.wait_for_dump()
        stored = query_until(prometheus, "nfszbx_client_receive_bytes_total", ("smbd", "127.0.2.1"))
        row = next(r for r in document["clients"] if r["id"] == "smbd 127.0.2.1")
        assert 20_000_000 < stored <= row["receive_bytes_total"] + 10_000
        assert run.stop(signal.SIGTERM) == 0

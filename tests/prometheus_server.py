"""A real Prometheus, Debian's package, that scrapes what a test serves."""

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.network import free_port
from tests.requirements import require

QUERY_SECONDS = 60.0


@contextmanager
def run_prometheus(scraped_port: int, directory: Path) -> Iterator[str]:
    """Its address; it scrapes that port every second."""
    require("prometheus", "promtool")
    config = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [
            {
                "job_name": "nfszbx",
                "static_configs": [{"targets": [f"127.0.0.1:{scraped_port}"]}],
            }
        ],
    }
    config_path = directory / "prometheus.yml"
    config_path.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    address = f"127.0.0.1:{free_port()}"
    with (directory / "prometheus.log").open("w") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={config_path}",
                f"--storage.tsdb.path={directory / 'data'}",
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


def query(
    prometheus: str, expression: str, labels: tuple[str, ...] = ("service", "client")
) -> dict[tuple[str, ...], float]:
    """The values of an instant query, by the values of these labels."""
    url = f"{prometheus}/api/v1/query?query={quote(expression)}"
    with urllib.request.urlopen(url, timeout=10) as response:
        answer: Any = json.load(response)
    return {
        tuple(series["metric"][label] for label in labels if label in series["metric"]): float(
            series["value"][1]
        )
        for series in answer["data"]["result"]
    }


def query_until(
    prometheus: str,
    expression: str,
    key: tuple[str, ...],
    labels: tuple[str, ...] = ("service", "client"),
) -> float:
    """The value, once it is there and above zero."""
    deadline = time.monotonic() + QUERY_SECONDS
    while True:
        try:
            value = query(prometheus, expression, labels).get(key, 0.0)
        except OSError:  # it is still starting
            value = 0.0
        if value > 0:
            return value
        assert time.monotonic() < deadline, f"no value for {key} of {expression}"
        time.sleep(0.5)


def lint(text: bytes) -> tuple[int, bytes, bytes]:
    """What promtool says of an exposition: exit status, standard output and standard error."""
    found = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, check=False
    )
    return found.returncode, found.stdout, found.stderr

"""Sinks are opened in two steps, and those that get intervals again take what they miss."""

import json
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nfszbx.config import Config
from nfszbx.errors import ConfigurationError, SinkStartError
from nfszbx.samples import Samples
from nfszbx.sinks.base import Again
from nfszbx.sinks.opened import OpenSinks, prepare_sinks
from tests.network import free_port


def serve_at(port: int, *sinks: str) -> Config:
    return Config.model_validate({"sinks": sinks, "prometheus": {"port": port}})


@contextmanager
def opened(config: Config, folder: Path, **handed_on: int) -> Iterator[OpenSinks]:
    sinks = OpenSinks(prepare_sinks(config), folder, lambda name: Again(handed_on.get(name, 0)))
    try:
        yield sinks
    finally:
        sinks.stop()


def make_samples(number: int) -> Samples:
    return Samples(float(number), complete=True, samples=(), number=number)


def test_nobody_is_answered_before_the_second_step(tmp_path: Path) -> None:
    """What is sent to the port waits for the process that is not root any more."""
    port = free_port()
    config = serve_at(port, "prometheus")
    prepared = prepare_sinks(config)
    with socket.create_connection(("127.0.0.1", port)) as early:
        early.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        early.settimeout(0.3)
        with pytest.raises(TimeoutError):
            early.recv(1)
        sinks = OpenSinks(prepared, tmp_path, lambda _: Again())
        early.settimeout(10)
        assert early.recv(100).startswith(b"HTTP/1.0 503")  # no interval has come yet
    sinks.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_port_and_keys_are_missed_in_the_first_step(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SinkStartError, match=str(port)):
            prepare_sinks(serve_at(port, "prometheus"))
    tls = {"connect": "psk", "psk_identity": "x", "psk_file": str(tmp_path / "none")}
    config = Config.model_validate({"sinks": ["zabbix"], "zabbix": {"tls": tls}})
    with pytest.raises(ConfigurationError, match="psk_file"):
        prepare_sinks(config)


def test_console_prints_nothing_twice_and_prometheus_shows_it_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    with opened(serve_at(port, "console", "prometheus"), tmp_path, console=2) as sinks:
        assert sinks.handed_on == {"console": 2, "prometheus": 0}
        for number in (1, 2, 3):
            sinks.put(make_samples(number))
        while sinks.done < 3:
            pass
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            assert answer.status == 200
        assert sinks.handed_on == {"console": 3, "prometheus": 3}
        assert [health.name for health in sinks.healths()] == ["console", "prometheus"]
    assert [json.loads(line)["time"] for line in capsys.readouterr().out.splitlines()] == [3.0]

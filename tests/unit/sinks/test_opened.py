"""Sinks that are replaced while nfszbx runs."""

import socket
from pathlib import Path

import pytest

from nfszbx.config import Config, PrometheusConfig
from nfszbx.errors import SinkStartError
from nfszbx.sinks.opened import OpenSinks
from nfszbx.state import StateDirectory


def is_served(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


def serve_at(port: int) -> Config:
    return Config(sinks=("prometheus",), prometheus=PrometheusConfig(port=port))


def find_port() -> int:
    """A free one."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    return StateDirectory(tmp_path / "state")


def test_endpoint_moves(state: StateDirectory) -> None:
    old, new = find_port(), find_port()
    sinks = OpenSinks(serve_at(old), state)
    assert is_served(old)
    sinks.replace(serve_at(new), ["prometheus"], ["prometheus"])
    assert is_served(new)
    assert not is_served(old)
    sinks.stop()
    assert not is_served(new)


def test_sink_that_cannot_be_opened_leaves_the_old_one(state: StateDirectory) -> None:
    old = find_port()
    sinks = OpenSinks(serve_at(old), state)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SinkStartError, match=str(port)):
            sinks.replace(serve_at(port), ["prometheus"], ["prometheus"])
    assert is_served(old)
    assert not sinks.are_gone
    assert [health.name for health in sinks.healths()] == ["prometheus"]
    sinks.stop()


def test_without_new_and_old_ones_nfszbx_is_to_end(
    monkeypatch: pytest.MonkeyPatch, state: StateDirectory
) -> None:
    sinks = OpenSinks(serve_at(find_port()), state)

    def refuse(_: PrometheusConfig) -> None:
        raise SinkStartError("taken")

    monkeypatch.setattr("nfszbx.sinks.opened.PrometheusSink", refuse)
    with pytest.raises(SinkStartError):
        sinks.replace(serve_at(find_port()), ["prometheus"], ["prometheus"])
    assert sinks.are_gone


def test_sink_that_is_left_goes_on(state: StateDirectory) -> None:
    port = find_port()
    both = serve_at(port).model_copy(update={"sinks": ("prometheus", "console")})
    sinks = OpenSinks(serve_at(port), state)
    sinks.replace(both, [], ["console"])
    assert [health.name for health in sinks.healths()] == ["prometheus", "console"]
    sinks.replace(serve_at(port), ["console"], [])
    assert [health.name for health in sinks.healths()] == ["prometheus"]
    assert is_served(port)
    sinks.stop()

"""A server may be down, mute, slow or broken: values go on elsewhere, or the cause is told."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from nfszbx.errors import SinkUnavailableError
from nfszbx.nodes import Node
from nfszbx.sinks.zabbix_cluster import ZabbixCluster
from nfszbx.spool_store import Entry
from tests.fake_zabbix import Answer, FakeServer, pack, success
from tests.network import free_port

VALUES = [
    Entry("nfszbx.totals", 1_790_000_000_500_000_000, "{}"),
    Entry("k", 1_790_000_000_000_000_000, "é"),
]
TIMEOUT_SECONDS = 2.0


@contextmanager
def servers(*made: FakeServer) -> Iterator[None]:
    with ExitStack() as stack:
        for server in made:
            stack.callback(server.close)
        yield


def make_cluster(*nodes: Node, source_address: str | None = None) -> ZabbixCluster:
    return ZabbixCluster(
        nodes, "host 1", timeout_seconds=TIMEOUT_SECONDS, source_address=source_address
    )


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_values_arrive_with_their_time(address: str) -> None:
    server = FakeServer(success(2, 0), address=address)
    with servers(server):
        assert make_cluster(server.node).send(VALUES) == 0
    assert server.requests[0]["data"] == [
        {
            "host": "host 1",
            "key": "nfszbx.totals",
            "value": "{}",
            "clock": 1_790_000_000,
            "ns": 500_000_000,
        },
        {"host": "host 1", "key": "k", "value": "é", "clock": 1_790_000_000, "ns": 1},
    ]


def test_refused_values_are_counted() -> None:
    server = FakeServer(success(1, 1))
    with servers(server):
        assert make_cluster(server.node).send(VALUES) == 1


def mute(connection: socket.socket) -> None:
    connection.settimeout(10 * TIMEOUT_SECONDS)
    connection.recv(1)


def trickle(connection: socket.socket) -> None:
    try:
        for byte in pack(success(2, 0)):
            connection.sendall(bytes([byte]))
            time.sleep(0.1)
    except OSError:
        pass


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (mute, r"no answer within 2 s"),
        (trickle, r"no answer within 2 s"),
        (b"", "closed the connection without an answer"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "Unexpected response"),
        (pack(success(2, 0))[:30], "no valid answer"),
        (b"ZBXD\x01\xff\xff\xff\x7f" + bytes(4) + b" " * 2_000_000, "too long"),
        (b"ZBXD\x03\x04\0\0\0\x04\0\0\0junk", "no valid answer"),
        (pack({"response": "failed", "info": "no such thing"}), "no such thing"),
        (pack({"response": "success", "info": "well"}), "well"),
        (pack({"response": "success"}), "success"),
        (b"ZBXD\x01\x02\0\0\0\0\0\0\0[]", r"no valid answer: \[\]"),
    ],
)
def test_next_node_is_asked_and_the_cause_told(answer: Answer, message: str) -> None:
    bad, good = FakeServer(answer), FakeServer(success(2, 0))
    with servers(bad, good):
        with pytest.raises(SinkUnavailableError, match=message):
            make_cluster(bad.node).send(VALUES)
        cluster = make_cluster(bad.node, good.node)
        assert cluster.send(VALUES) == cluster.send(VALUES) == 0
    assert len(bad.requests) == 2  # the node that has answered is asked first from then on
    assert len(good.requests) == 2


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("127.0.0.1", "Connection refused"),
        ("::1", "Connection refused"),
        ("no-such-host.invalid", "Name or service not known|name resolution"),
    ],
)
def test_node_that_cannot_be_reached(host: str, message: str) -> None:
    good = FakeServer(success(2, 0))
    with servers(good):
        node = Node(host, free_port())
        assert make_cluster(node, good.node).send(VALUES) == 0
        with pytest.raises(SinkUnavailableError, match=message):
            make_cluster(node).send(VALUES)
        other = Node(host, free_port())
        with pytest.raises(SinkUnavailableError) as error:
            make_cluster(node, other).send(VALUES)
        assert all(f"{each}: " in str(error.value) for each in (node, other))


def test_redirect_is_followed_and_remembered_until_it_fails() -> None:
    proxy = FakeServer(success(2, 0))
    redirect = {"response": "failed", "redirect": {"revision": 1, "address": str(proxy.node)}}
    server = FakeServer(redirect)
    with servers(server):
        cluster = make_cluster(server.node)
        with servers(proxy):
            assert cluster.send(VALUES) == cluster.send(VALUES) == 0
        assert (len(server.requests), len(proxy.requests)) == (1, 2)
        server.answers = [success(2, 0)]
        assert cluster.send(VALUES) == 0


@pytest.mark.parametrize("address", ["itself", "nonsense:::", ""])
def test_redirect_to_nowhere(address: str) -> None:
    server = FakeServer(b"")
    target = str(server.node) if address == "itself" else address
    server.answers = [{"response": "failed", "redirect": {"revision": 1, "address": target}}]
    with servers(server), pytest.raises(SinkUnavailableError, match="redirects"):
        make_cluster(server.node).send(VALUES)


def test_source_address_is_used() -> None:
    server = FakeServer(success(2, 0))
    with servers(server):
        make_cluster(server.node, source_address="127.0.0.9").send(VALUES)
    assert server.peers == ["127.0.0.9"]

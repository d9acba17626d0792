"""The kernel's counters per socket, as nfszbx reads them, are what the applications have moved."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from nfszbx.audit import sum_high, sum_low
from nfszbx.kernel.sockets import SocketReader
from nfszbx.traffic import Direction
from tests.requirements import require

# Serves one connection on a port of its own namespace, which it says, and stays until told.
ELSEWHERE = """
import socket, sys, subprocess
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
server = socket.create_server(("127.0.0.1", {port}))
client = socket.create_connection(("127.0.0.1", {port}))
served, _ = server.accept()
client.sendall(b"x" * 700)
assert len(served.recv(700, socket.MSG_WAITALL)) == 700
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    require("unshare", "ip")
    with ExitStack() as stack:
        yield stack


def connect(
    stack: ExitStack, address: str, family: socket.AddressFamily = socket.AF_INET
) -> tuple[int, socket.socket, socket.socket]:
    """The port of a server, and both ends of a connection to it."""
    server = stack.enter_context(socket.create_server((address, 0), family=family))
    client = stack.enter_context(socket.create_connection(server.getsockname()[:2]))
    served, _ = server.accept()
    return server.getsockname()[1], client, stack.enter_context(served)


def read(port: int) -> dict[Direction, int]:
    """What nothing moves any more is the same however it is read."""
    reader = SocketReader([port])
    reader.find_namespaces()
    while True:
        earlier, later = reader.read(), reader.read()
        high = sum_high(later)
        if sum_low(earlier, later) == high:  # what was on its way has arrived
            break
    return {direction: high[port, direction] for direction in Direction}


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def test_what_the_application_has_read_and_written(
    stack: ExitStack, family: socket.AddressFamily
) -> None:
    """What waits to be read is not yet counted; what waits for the peer is."""
    address = "127.0.0.1" if family is socket.AF_INET else "::1"
    port, client, served = connect(stack, address, family)
    client.sendall(b"x" * 1000)
    assert len(served.recv(600, socket.MSG_WAITALL)) == 600
    served.settimeout(0.0)
    written = 0
    with suppress(BlockingIOError):
        while True:
            written += served.send(b"y" * 100_000)
    assert written > 100_000
    assert read(port) == {Direction.RECEIVE: 600, Direction.TRANSMIT: written}


@pytest.mark.parametrize("closes_first", ["client", "server"])
def test_the_end_of_a_connection_counts_no_byte(stack: ExitStack, closes_first: str) -> None:
    port, client, served = connect(stack, "127.0.0.1")
    client.sendall(b"x" * 10)
    assert len(served.recv(10, socket.MSG_WAITALL)) == 10
    served.sendall(b"y" * 20)
    assert len(client.recv(20, socket.MSG_WAITALL)) == 20
    end = client if closes_first == "client" else served
    end.shutdown(socket.SHUT_WR)
    assert (served if end is client else client).recv(1) == b""
    assert read(port) == {Direction.RECEIVE: 10, Direction.TRANSMIT: 20}


def test_other_network_namespaces(stack: ExitStack) -> None:
    """A container's server is read as well, on the same port as one outside."""
    port, client, served = connect(stack, "127.0.0.1")
    client.sendall(b"x" * 30)
    assert len(served.recv(30, socket.MSG_WAITALL)) == 30
    elsewhere = stack.enter_context(
        subprocess.Popen(
            ["unshare", "--net", sys.executable, "-c", ELSEWHERE.format(port=port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
    )
    assert elsewhere.stdout
    assert elsewhere.stdin
    assert elsewhere.stdout.readline() == b"ready\n"
    assert read(port) == {Direction.RECEIVE: 730, Direction.TRANSMIT: 0}
    elsewhere.stdin.close()
    elsewhere.wait(10)
    assert read(port) == {Direction.RECEIVE: 30, Direction.TRANSMIT: 0}

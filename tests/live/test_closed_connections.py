"""What the kernel had counted on a connection when it closed, as the audit gets it."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nfszbx.fragments import FRAGMENT_DIRECTORY
from tests.requirements import require

LARGE = 100_000


def exchange(client: socket.socket, server: socket.socket) -> None:
    """300 bytes to the server, 500 from it, all of them read."""
    client.sendall(b"x" * 300)
    assert len(server.recv(300, socket.MSG_WAITALL)) == 300
    server.sendall(b"y" * 500)
    assert len(client.recv(500, socket.MSG_WAITALL)) == 500


def client_first(client: socket.socket, server: socket.socket) -> None:
    exchange(client, server)
    client.close()
    assert server.recv(1) == b""
    server.close()


def server_first(client: socket.socket, server: socket.socket) -> None:
    exchange(client, server)
    server.close()
    assert client.recv(1) == b""
    client.close()


def server_first_and_client_stays(client: socket.socket, server: socket.socket) -> None:
    """The server's end is an orphan in FIN_WAIT2 when it closes."""
    exchange(client, server)
    server.close()
    assert client.recv(1) == b""
    time.sleep(0.5)
    client.close()


def without_a_byte(client: socket.socket, server: socket.socket) -> None:
    server.close()
    assert client.recv(1) == b""
    client.close()


def with_unread_bytes(client: socket.socket, server: socket.socket) -> None:
    exchange(client, server)
    client.sendall(b"x" * LARGE)
    time.sleep(0.2)
    server.close()
    client.close()


def reset_by_the_client(client: socket.socket, server: socket.socket) -> None:
    exchange(client, server)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    with pytest.raises(ConnectionResetError):
        server.recv(1)
    server.close()


def reset_with_unread_bytes(client: socket.socket, server: socket.socket) -> None:
    """They can be read afterwards; whether they will be, nobody knows."""
    exchange(client, server)
    client.sendall(b"x" * LARGE)
    time.sleep(0.2)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    time.sleep(0.2)
    server.close()


ENDS: list[tuple[Callable[[socket.socket, socket.socket], None], int, int]] = [
    (client_first, 300, 500),
    (server_first, 300, 500),
    (server_first_and_client_stays, 300, 500),
    (without_a_byte, 0, 0),
    (with_unread_bytes, 300, 500),
    (reset_by_the_client, 300, 500),
    (reset_with_unread_bytes, 300, 500),
]


def test_every_kind_of_end(tmp_path: Path) -> None:
    """Neither a FIN nor what nobody has read is a byte."""
    require("bpftrace")
    output = tmp_path / "output"
    with output.open("wb") as file:
        bpftrace = subprocess.Popen(
            ["bpftrace", "-f", "json", str(FRAGMENT_DIRECTORY / "closed_connections.bt")],
            stdout=file,
            stderr=subprocess.DEVNULL,
        )
        try:
            while "attached_probes" not in output.read_text():
                assert bpftrace.poll() is None
                time.sleep(0.1)
            time.sleep(3.0)  # 0.17 says it before it has done it
            found = {end.__name__: run(end) for end, _, _ in ENDS}
            time.sleep(1.0)
        finally:
            bpftrace.send_signal(signal.SIGINT)
            bpftrace.wait(30)
    maps = [json.loads(line) for line in output.read_text().splitlines() if '"map"' in line]
    counts = maps[-1]["data"]["@closed_bytes"]
    for end, received, sent in ENDS:
        port = found[end.__name__]
        # The fragment by itself has the received bytes at the port, the sent ones 65536 above it.
        address = f"0,{int.from_bytes(socket.inet_aton('127.0.0.1'), sys.byteorder)}"
        closed = (counts[f"{port},{address}"], counts[f"{port + 65536},{address}"])
        assert (end.__name__, *closed) == (end.__name__, received, sent)


def run(end: Callable[[socket.socket, socket.socket], None]) -> int:
    """Let a connection end that way; the server's port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
        client = socket.create_connection(("127.0.0.1", port))
        server, _ = listener.accept()
        with client, server:
            end(client, server)
    return port

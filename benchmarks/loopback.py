"""A server and its clients on connections over loopback, whose server makes nearly all calls."""

import socket
from contextlib import ExitStack
from typing import Self

PORT = 20449
SIZE_BYTES = 16
BURST_CALLS = 2000
"""The client moves as much with one call."""


class Traffic:
    """A context manager; each client has an address of its own in 127.0.0.0/8."""

    def __init__(self, clients: int = 1) -> None:
        self._stack = ExitStack()
        self._listener = self._stack.enter_context(
            socket.create_server(("127.0.0.1", PORT), backlog=clients)
        )
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        for number in range(clients):
            source = (f"127.1.{number // 250}.{number % 250 + 1}", 0)
            client = socket.create_connection(("127.0.0.1", PORT), source_address=source)
            self._stack.enter_context(client)
            server = self._stack.enter_context(self._listener.accept()[0])
            self._pairs.append((client, server))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def receive(self) -> int:
        """The server reads small pieces, of one client after the other; how many calls it made."""
        each = BURST_CALLS // len(self._pairs)
        for client, _ in self._pairs:
            client.sendall(bytes(SIZE_BYTES * each))
        for _ in range(each):
            for _, server in self._pairs:
                server.recv(SIZE_BYTES)
        return each * len(self._pairs)

    def transmit(self) -> int:
        """The server sends small pieces, to one client after the other; how many calls it made."""
        each = BURST_CALLS // len(self._pairs)
        for _ in range(each):
            for _, server in self._pairs:
                server.sendall(bytes(SIZE_BYTES))
        for client, _ in self._pairs:
            client.recv(SIZE_BYTES * each, socket.MSG_WAITALL)
        return each * len(self._pairs)

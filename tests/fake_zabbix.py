"""A server that speaks Zabbix' trapper protocol as badly as it is told."""

import json
import socket
import threading
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from nfszbx.nodes import Node

HEADER_BYTES = 13

Answer = dict[str, Any] | bytes | Callable[[socket.socket], None]


def success(processed: int, failed: int) -> dict[str, str]:
    total = processed + failed
    info = f"processed: {processed}; failed: {failed}; total: {total}; seconds spent: 0.000053"
    return {"response": "success", "info": info}


def pack(answer: dict[str, Any]) -> bytes:
    body = json.dumps(answer).encode()
    return b"ZBXD\x01" + len(body).to_bytes(4, "little") + bytes(4) + body


class FakeServer:
    """Answers each connection as told, the last answer again and again; keeps the requests."""

    def __init__(self, *answers: Answer, address: str = "127.0.0.1") -> None:
        self.answers = list(answers)
        self.requests: list[dict[str, Any]] = []
        self.peers: list[str] = []
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = socket.create_server((address, 0), family=family)
        self.node = Node(address, self._socket.getsockname()[1])
        threading.Thread(target=self._run, daemon=True).start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _run(self) -> None:
        while True:
            try:
                connection, peer = self._socket.accept()
            except OSError:
                return
            self.peers.append(peer[0])
            with connection, suppress(OSError):  # a client may be gone before it is answered
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        stream = connection.makefile("rb")
        header = stream.read(HEADER_BYTES)
        body_bytes = int.from_bytes(header[5:9], "little")
        body = stream.read(body_bytes)
        if len(header) < HEADER_BYTES or len(body) < body_bytes:
            return  # the client was killed while it sent
        assert header[:5] == b"ZBXD\x03"  # compressed
        self.requests.append(json.loads(zlib.decompress(body)))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, dict):
            connection.sendall(pack(answer))
        elif isinstance(answer, bytes):
            connection.sendall(answer)
        else:
            answer(connection)


class MuteServer(FakeServer):
    """Takes everything; when it has fallen silent it reads, and does not answer."""

    def __init__(self) -> None:
        super().__init__(success(1, 0))
        self._speaks = threading.Event()

    def fall_silent(self) -> None:
        self._speaks.clear()
        self.answers = [self._wait]

    def go_on(self) -> None:
        """Answer again. What it was sent in silence, it has not taken."""
        self.requests.clear()
        self.answers = [success(1, 0)]
        self._speaks.set()

    def close(self) -> None:
        self._speaks.set()
        super().close()

    def _wait(self, connection: socket.socket) -> None:
        del connection
        self._speaks.wait(120)

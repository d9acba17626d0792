"""An NFSv3 client over UDP, which Debian's kernels have not been since Linux 5.6.

``python3 -m tests.vm.guest.udp_client ADDRESS EXPORT COUNT``, in a client's namespace, writes and
reads COUNT blocks of a file, and prints the bytes of RPC messages from the server's side: received,
sent. One message is one datagram (RFC 5531, RFC 1813).
"""

import itertools
import os
import socket
import struct
import sys
import time

NFS, MOUNT, RPCBIND = (100003, 3), (100005, 3), (100000, 3)
GETADDR, MNT = 3, 1
NULL, GETATTR, READ, WRITE, CREATE = 0, 1, 6, 7, 8
JUKEBOX = 10008  # the server asks to try again later
BLOCK_BYTES = 8192
ANSWER_SECONDS = 30.0

_identifiers = itertools.count(os.getpid() << 16)


def make_call(program: tuple[int, int], procedure: int, arguments: bytes) -> bytes:
    """An RPC call with the credentials of root (AUTH_SYS)."""
    credential = struct.pack(">2I", 1, 20) + struct.pack(">5I", 0, 0, 0, 0, 0)
    head = struct.pack(">6I", next(_identifiers) & 0xFFFFFFFF, 0, 2, *program, procedure)
    return head + credential + struct.pack(">2I", 0, 0) + arguments


def read_result(reply: bytes) -> bytes:
    """What follows the head of an accepted reply with an empty verifier."""
    _, kind, rejected, _, _, status = struct.unpack_from(">6I", reply)
    if (kind, rejected, status) != (1, 0, 0):
        raise RuntimeError(f"the server has refused a call: {reply[:24].hex()}")
    return reply[24:]


def pack_opaque(data: bytes) -> bytes:
    """XDR: the length, the data, zeros up to a multiple of four."""
    return struct.pack(">I", len(data)) + data + bytes(-len(data) % 4)


def unpack_opaque(data: bytes, offset: int = 0) -> bytes:
    """The data at an offset."""
    (size,) = struct.unpack_from(">I", data, offset)
    return data[offset + 4 : offset + 4 + size]


def call_over_tcp(address: tuple[str, int], message: bytes) -> bytes:
    """One call on a connection of its own."""
    with socket.create_connection(address, timeout=ANSWER_SECONDS) as connection:
        connection.sendall(struct.pack(">I", 1 << 31 | len(message)) + message)
        stream = connection.makefile("rb")
        return read_result(stream.read(int.from_bytes(stream.read(4)) & 0x7FFFFFFF))


def mount(host: str, export: str) -> bytes:
    """The handle of an export's root; rpcbind tells where mountd listens."""
    wanted = struct.pack(">2I", *MOUNT) + pack_opaque(b"tcp6" if ":" in host else b"tcp")
    asked = make_call(RPCBIND, GETADDR, wanted + pack_opaque(b"") * 2)
    *_, high, low = unpack_opaque(call_over_tcp((host, 111), asked)).split(b".")
    port = int(high) << 8 | int(low)
    result = call_over_tcp((host, port), make_call(MOUNT, MNT, pack_opaque(export.encode())))
    if result[:4] != bytes(4):
        raise RuntimeError(f"the server does not let us mount {export}: {result[:4].hex()}")
    return unpack_opaque(result, 4)


class UdpNfs:
    """Calls over one socket, counted."""

    def __init__(self, host: str) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.settimeout(ANSWER_SECONDS)
        self._socket.connect((host, 2049))
        self.sent = self.received = 0

    def call(self, procedure: int, arguments: bytes = b"") -> bytes:
        """The result, without its status. Nothing is lost here, so nothing is sent twice."""
        while True:
            self.sent += self._socket.send(make_call(NFS, procedure, arguments))
            reply = self._socket.recv(65536)
            self.received += len(reply)
            result = read_result(reply)
            status = int.from_bytes(result[:4])
            if status == 0:
                return result[4:]
            if status != JUKEBOX:
                raise RuntimeError(f"NFS procedure {procedure}: status {status}")
            time.sleep(0.5)


def main() -> None:
    """Move the blocks, with a GETATTR between them."""
    host, export, count = sys.argv[1:]
    root = mount(host, export)
    server = UdpNfs(host)
    name = f"udp-{host}".encode()
    created = server.call(CREATE, pack_opaque(root) + pack_opaque(name) + bytes(28))
    handle = pack_opaque(unpack_opaque(created, 4))
    for number in range(int(count)):
        offset = struct.pack(">QI", number * BLOCK_BYTES, BLOCK_BYTES)
        block = os.urandom(BLOCK_BYTES)
        server.call(WRITE, handle + offset + struct.pack(">I", 0) + pack_opaque(block))
        server.call(GETATTR, handle)
        if not server.call(READ, handle + offset).endswith(block):
            raise RuntimeError("what was read is not what was written")
    print(server.sent, server.received)


if __name__ == "__main__":
    main()

"""A client that connects, asks one question and leaves, again and again. Runs in its namespace.

``python3 -m tests.vm.guest.short_connections PROTOCOL ADDRESS PORT COUNT`` prints what the kernel
had counted on its sockets, from the server's side: bytes received, bytes sent. It stays until the
server has ended the connection as well: smbd at times answers twice (5 of 3,500 times with Samba
4.17), which TCP has taken whether the client still listens or not.
"""

import socket
import struct
import sys

_TCP_INFO_COUNTERS = struct.Struct("=120xQQ")  # struct tcp_info: bytes_acked, bytes_received
NFS_PROGRAM, NFS_VERSION = 100003, 3


def make_nfs_call(identifier: int) -> bytes:
    """An RPC call of NFS' NULL procedure over TCP (RFC 5531): a record of one fragment."""
    call = struct.pack(">10I", identifier, 0, 2, NFS_PROGRAM, NFS_VERSION, 0, 0, 0, 0, 0)
    return struct.pack(">I", 1 << 31 | len(call)) + call


def make_smb_call(_: int) -> bytes:
    """An SMB2 NEGOTIATE (MS-SMB2 2.2.3) that offers SMB 2.0.2 and 2.1."""
    header = b"\xfeSMB" + struct.pack("<HHIHHIIQIIQ16x", 64, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)
    body = struct.pack("<HHHHI16xQ2H", 36, 2, 1, 0, 0, 0, 0x0202, 0x0210)
    return struct.pack(">I", len(header + body)) + header + body


CALLS = {"nfs": make_nfs_call, "smb": make_smb_call}


def read_record(connection: socket.socket) -> None:
    """Read one answer: four bytes that have its length, and the rest."""
    with connection.makefile("rb", buffering=0) as stream:
        missing = int.from_bytes(_read_exactly(stream, 4)) & 0x7FFFFFFF
        _read_exactly(stream, missing)


def _read_exactly(stream: socket.SocketIO, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = stream.read(size - len(data))
        if not part:
            raise ConnectionError("the server has closed the connection")
        data += part
    return data


def count_bytes(connection: socket.socket) -> tuple[int, int]:
    """What the server received and sent, by the kernel's counters of this end, both having ended.

    Each end's FIN counts as a byte, and so does the SYN of the end that connects.
    """
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_COUNTERS.size)
    acked, received = _TCP_INFO_COUNTERS.unpack(info)
    return acked - 2, received - 1


def main() -> None:
    """Connect as often as told."""
    protocol, address, port, count = sys.argv[1:]
    received = sent = 0
    for number in range(int(count)):
        with socket.create_connection((address, int(port)), timeout=60.0) as connection:
            connection.sendall(CALLS[protocol](number))
            read_record(connection)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass
            more = count_bytes(connection)
            received, sent = received + more[0], sent + more[1]
    print(received, sent)


if __name__ == "__main__":
    main()

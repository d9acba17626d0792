"""Reads the kernel's own byte counters of TCP sockets (sock_diag), in every network namespace.

The layouts are those of ``include/uapi/linux/inet_diag.h`` and ``tcp.h``.
"""

import ctypes
import errno
import os
import socket
import struct
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from nfszbx.connections import Connection, Identity

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_DUMP_REQUEST = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_TCP_INFO = 2  # INET_DIAG_INFO
_ESTABLISHED, _FIN_WAIT1, _FIN_WAIT2, _CLOSE_WAIT, _LAST_ACK, _LISTEN, _CLOSING = (
    1,
    4,
    5,
    8,
    9,
    10,
    11,
)
_CONNECTED = (_ESTABLISHED, _FIN_WAIT1, _FIN_WAIT2, _CLOSE_WAIT, _LAST_ACK, _CLOSING)
_SENT_FIN = frozenset((_FIN_WAIT1, _FIN_WAIT2, _LAST_ACK, _CLOSING))
_RECEIVED_FIN = frozenset((_CLOSE_WAIT, _LAST_ACK, _CLOSING))

_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBxI2s46x")
_MESSAGE = struct.Struct("=BB2x4x16x16s4xQ4xII8x")
"""Of ``inet_diag_msg``: family, state, the peer's address, cookie, receive queue, send queue."""
_ATTRIBUTE = struct.Struct("=HH")
_COUNTERS = struct.Struct("=120xQQ")
"""Of ``tcp_info``: bytes_acked, bytes_received (Linux kernel commits 0df48c26d841 and bdd1f9edacb5,
both in v4.1)."""
_MAPPED = bytes(10) + b"\xff\xff"
_PROC_PID_INIT_INO = 0xEFFFFFFC
_CLONE_NEWNET = 0x40000000
_BUFFER_BYTES = 1 << 17


class SocketReader:
    """Knows the network namespaces with a server in it, and reads their connections. Needs root.

    One reading takes about 7 µs per connection, and a walk through the kernel's table for every
    port, address family and namespace. Nothing stays open in between: a netlink socket in a
    namespace would keep that when all its processes have ended.
    """

    def __init__(self, ports: Iterable[int]) -> None:
        self._ports = tuple(ports)
        self._namespaces: dict[int, Path] = {}

    @property
    def namespaces(self) -> frozenset[int]:
        """The numbers of those that were found, and still there when they were last read."""
        return frozenset(self._namespaces)

    def read(self) -> dict[Identity, Connection]:
        """All connections there are.

        Raises OSError where the kernel has no ``tcp_diag``, or a namespace cannot be entered.
        """
        connections: dict[Identity, Connection] = {}
        for number, path in list(self._namespaces.items()):
            netlink = _open_netlink(number, path)
            if netlink is None:
                del self._namespaces[number]
                continue
            with netlink:
                for port in self._ports:
                    for cookie, connection in _read_connections(netlink, port):
                        connections[number, cookie] = connection
        return connections

    def find_namespaces(self) -> None:
        """Look for namespaces with a server of these ports; only listeners are cheap to look for.

        Raises OSError like :meth:`read`.
        """
        paths: dict[int, Path] = {}
        for number, path in _list_namespaces():
            paths.setdefault(number, path)  # that of the oldest process, which stays the longest
        self._namespaces = {
            number: path for number, path in paths.items() if self._has_server(number, path)
        }

    def _has_server(self, number: int, path: Path) -> bool:
        netlink = _open_netlink(number, path)
        if netlink is None:
            return False
        with netlink:
            return any(_has_listener(netlink, port) for port in self._ports)


def is_first_pid_namespace() -> bool:
    """Does ``/proc`` show the processes of the whole machine?

    The first namespace has a number of its own: PROC_PID_INIT_INO, ``include/linux/proc_ns.h``.
    """
    try:
        return Path("/proc/self/ns/pid").stat().st_ino == _PROC_PID_INIT_INO
    except OSError:
        return False


def _list_namespaces() -> Iterator[tuple[int, Path]]:
    """The network namespaces of all processes, and those that ``ip netns`` keeps by name."""
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            yield from _identify(process / "ns/net")
    named = Path("/run/netns")
    if named.is_dir():
        for path in named.iterdir():
            yield from _identify(path)


def _identify(path: Path) -> Iterator[tuple[int, Path]]:
    try:
        yield path.stat().st_ino, path
    except OSError:
        return  # the process has ended


def _open_netlink(number: int, path: Path) -> socket.socket | None:
    """A netlink socket that belongs to a namespace; None when the namespace is not there."""
    opened: list[socket.socket | OSError | None] = []

    def enter() -> None:
        # A thread of its own moves; it ends there, and the others stay where they are.
        try:
            with path.open() as file:
                if os.fstat(file.fileno()).st_ino != number:
                    opened.append(None)
                    return
                if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), _CLONE_NEWNET) != 0:
                    number_of_error = ctypes.get_errno()
                    message = f"{path}: {os.strerror(number_of_error)}"
                    raise OSError(number_of_error, message)  # noqa: TRY301
            opened.append(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG))
        except OSError as error:
            opened.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    (result,) = opened
    if isinstance(result, OSError):
        if result.errno in (errno.ENOENT, errno.ESRCH):
            return None
        raise result
    return result


def _has_listener(netlink: socket.socket, port: int) -> bool:
    return bool(list(_dump(netlink, port, (_LISTEN,))))  # a dump has to be read to its end


def _read_connections(netlink: socket.socket, port: int) -> Iterator[tuple[int, Connection]]:
    """The connections of the port, with their cookies."""
    for message in _dump(netlink, port, _CONNECTED):
        family, state, address, cookie, unread, unacknowledged = _MESSAGE.unpack_from(message)
        counters = _find_counters(message)
        if counters is not None:
            yield (
                cookie,
                Connection(
                    port,
                    address if family == socket.AF_INET6 else _MAPPED + address[:4],
                    state in _RECEIVED_FIN,
                    state in _SENT_FIN,
                    unread,
                    unacknowledged,
                    *counters,
                ),
            )


def _find_counters(message: memoryview) -> tuple[int, int] | None:
    offset = _MESSAGE.size
    while offset + _ATTRIBUTE.size <= len(message):
        size, kind = _ATTRIBUTE.unpack_from(message, offset)
        start = offset + _ATTRIBUTE.size
        if kind == _TCP_INFO and size >= _ATTRIBUTE.size + _COUNTERS.size:
            acknowledged, received = _COUNTERS.unpack_from(message, start)
            return acknowledged, received
        offset += max(_ATTRIBUTE.size, (size + 3) & ~3)
    return None


def _dump(netlink: socket.socket, port: int, states: Iterable[int]) -> Iterator[memoryview]:
    """The ``inet_diag_msg`` of each socket with that local port, in one of the TCP states."""
    wanted = sum(1 << state for state in states)
    extensions = 1 << (_TCP_INFO - 1)
    for family in (socket.AF_INET, socket.AF_INET6):
        request = _REQUEST.pack(family, socket.IPPROTO_TCP, extensions, wanted, port.to_bytes(2))
        size = _HEADER.size + len(request)
        netlink.send(_HEADER.pack(size, _SOCK_DIAG_BY_FAMILY, _DUMP_REQUEST, 0, 0) + request)
        yield from _receive(netlink)


def _receive(netlink: socket.socket) -> Iterator[memoryview]:
    while True:
        data = memoryview(netlink.recv(_BUFFER_BYTES))
        offset = 0
        while offset + _HEADER.size <= len(data):
            size, kind, _, _, _ = _HEADER.unpack_from(data, offset)
            if kind in (_NLMSG_DONE, _NLMSG_ERROR):
                (number,) = struct.unpack_from("=i", data, offset + _HEADER.size)
                if number < 0:
                    raise OSError(-number, f"sock_diag: {os.strerror(-number)}")
                return
            yield data[offset + _HEADER.size : offset + size]
            offset += (size + 3) & ~3

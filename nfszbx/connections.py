"""What the kernel says of a TCP connection, and how far its application has read and written.

The kernel reads a connection's queues a moment before its counters (``tcp_diag_get_info`` in
``net/ipv4/tcp_diag.c``), and without its lock: what arrives or is acknowledged in between is in the
one and not in the other. So one look gives a position that the application has not passed when the
look begins and may not have reached when it ends; for a position that it has reached by then, it
takes the counters of the look before.
"""

from collections.abc import Mapping
from typing import NamedTuple

Identity = tuple[int, int]
"""Of a connection: the number of its network namespace, and the kernel's cookie of the socket."""


class Moved(NamedTuple):
    """Bytes that an application has moved over a connection, in the order of ``Direction``."""

    receive: int
    transmit: int


class Connection(NamedTuple):
    """One look at one connection. TCP counts a FIN as one byte."""

    port: int
    address: bytes
    """Of the client; 16 bytes, an IPv4 address as ``::ffff:a.b.c.d``."""
    has_received_fin: bool
    has_sent_fin: bool
    unread_bytes: int
    unacknowledged_bytes: int
    acknowledged_bytes: int
    received_bytes: int

    def bound_high(self) -> Moved:
        """Bytes that its application had at most read and written when the look began."""
        return _find_position(self, self)


def bound_low(earlier: Connection, later: Connection) -> Moved:
    """Bytes that its application had at least read and written when the later look ended."""
    return _find_position(earlier, later)


def _find_position(counters: Connection, queues: Connection) -> Moved:
    # An unread FIN is a part of the queue.
    fin_was_read = queues.has_received_fin and queues.unread_bytes == 0
    received = counters.received_bytes - queues.unread_bytes - fin_was_read
    sent = counters.acknowledged_bytes + queues.unacknowledged_bytes - queues.has_sent_fin
    return Moved(max(0, received), max(0, sent))


Connections = Mapping[Identity, Connection]


class Sight(NamedTuple):
    """A reading of all connections."""

    connections: Connections
    end_ns: int
    """When it ended: nanoseconds since boot."""
    namespaces: frozenset[int]
    """Where it was made: the numbers of network namespaces."""

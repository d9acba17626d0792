"""The words of the domain: services, directions, clients, and the slots that join them.

``receive`` and ``transmit`` are seen from the server, as in the kernel's ``/proc/net/dev``.
"""

from enum import StrEnum
from ipaddress import IPv6Address
from typing import NamedTuple

OTHER = "other"
"""Name of the row that takes what the rows of single clients do not cover."""


class _Word(StrEnum):
    """One of a closed set."""

    # Every counter is found by three of them, and that of Enum is a function in Python.
    __hash__ = str.__hash__


class Service(_Word):
    """A file service whose traffic is counted."""

    NFSD = "nfsd"
    SMBD = "smbd"
    KSMBD = "ksmbd"


class Direction(_Word):
    """A direction of traffic, seen from the server."""

    RECEIVE = "receive"
    TRANSMIT = "transmit"


class Transport(_Word):
    """What carries the service's messages. Only nfsd has others than TCP."""

    TCP = "tcp"
    UDP = "udp"
    RDMA = "rdma"


class Flow(NamedTuple):
    """A service on a transport: what a client's traffic belongs to."""

    service: Service
    transport: Transport = Transport.TCP

    @property
    def name(self) -> str:
        """``nfsd``, ``nfsd_rdma``: its name where there is room for one word only."""
        plain = self.transport is Transport.TCP
        return self.service.value if plain else f"{self.service}_{self.transport}"


class Slot(NamedTuple):
    """One counter per flow and direction; its number is what the BPF maps are keyed by."""

    service: Service
    direction: Direction
    transport: Transport = Transport.TCP

    @property
    def flow(self) -> Flow:
        """The slot without its direction."""
        return Flow(self.service, self.transport)

    @property
    def number(self) -> int:
        """The number in the generated script, from 1; 0 is left free for "no service"."""
        return SLOT_NUMBERS[self]


FLOWS = (
    *(Flow(service) for service in Service),
    Flow(Service.NFSD, Transport.UDP),
    Flow(Service.NFSD, Transport.RDMA),
)
SLOTS = tuple(
    Slot(flow.service, direction, flow.transport) for flow in FLOWS for direction in Direction
)
SLOT_NUMBERS = {slot: number for number, slot in enumerate(SLOTS, start=1)}
SLOTS_BY_NUMBER = {number: slot for slot, number in SLOT_NUMBERS.items()}


_IPV4_MAPPED = bytes(10) + b"\xff\xff"


def name_client(address: bytes) -> str:
    """A client's name: its IP address in the usual form; ``::ffff:a.b.c.d`` is IPv4.

    ``address`` has 16 bytes.
    """
    if address.startswith(_IPV4_MAPPED):  # most are, and ipaddress takes three times as long
        return f"{address[12]}.{address[13]}.{address[14]}.{address[15]}"
    return str(IPv6Address(address))

"""The words of the domain: services, directions, clients, and the slots that join them.

``receive`` and ``transmit`` are seen from the server, as in the kernel's ``/proc/net/dev``.
"""

from enum import StrEnum
from typing import NamedTuple

OTHER = "other"
"""Name of the row that takes what the rows of single clients do not cover."""


class Service(StrEnum):
    """A file service whose traffic is counted."""

    NFSD = "nfsd"
    SMBD = "smbd"
    KSMBD = "ksmbd"


class Direction(StrEnum):
    """A direction of traffic, seen from the server."""

    RECEIVE = "receive"
    TRANSMIT = "transmit"


class Slot(NamedTuple):
    """One counter per service and direction; its number is what the BPF maps are keyed by."""

    service: Service
    direction: Direction

    @property
    def number(self) -> int:
        """The number in the generated script, from 1; 0 is left free for "no service"."""
        return SLOT_NUMBERS[self]


SLOTS = tuple(Slot(service, direction) for service in Service for direction in Direction)
SLOT_NUMBERS = {slot: number for number, slot in enumerate(SLOTS, start=1)}
SLOTS_BY_NUMBER = {number: slot for slot, number in SLOT_NUMBERS.items()}

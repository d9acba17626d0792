"""What ``ss -tinHO`` says of a connection: the kernel's own counters, which nfszbx must equal."""

import re
from ipaddress import IPv6Address, ip_address

COUNTERS = {"receive": "bytes_received", "transmit": "bytes_acked"}


def name_client(text: str) -> str:
    """An address as nfszbx names it: an IPv4 client is one, whichever socket it came through."""
    address = ip_address(text.strip("[]").partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def read_counters(line: str) -> dict[str, int]:
    """The bytes by direction; ss leaves out what is zero."""
    found = {name: re.search(rf"\b{name}:(\d+)", line) for name in COUNTERS.values()}
    return {
        direction: int(match[1]) if (match := found[name]) else 0
        for direction, name in COUNTERS.items()
    }

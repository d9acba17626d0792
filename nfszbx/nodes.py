"""Where servers listen, as users write it."""

import re
from ipaddress import IPv6Address
from typing import NamedTuple


class Node(NamedTuple):
    """Where a server or proxy listens."""

    host: str
    """A name or an address."""
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_node(text: str, default_port: int) -> Node:
    """``name``, ``name:port``, ``192.0.2.1:port``, ``2001:db8::1`` or ``[2001:db8::1]:port``.

    Raises ValueError.
    """
    match = re.fullmatch(r"\[([0-9a-fA-F:.%\w]+)\](?::(\d+))?|([^:\[\]\s]+)(?::(\d+))?", text)
    if match is None:
        return Node(str(IPv6Address(text)), default_port)
    host, port = match[1] or match[3], match[2] or match[4] or default_port
    if not 1 <= int(port) <= 65535:  # noqa: PLR2004  the ports there are
        raise ValueError(f"{port} is no port")
    return Node(host, int(port))

"""Reads what ``smbstatus --json`` prints (Samba 4.17 and later); pure.

Names of users and shares come from the server's administrators and from directories; they are
taken for foreign text.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from ipaddress import IPv6Address, ip_address
from typing import Any, NamedTuple

UNKNOWN = "unknown"
"""What smbstatus does not tell."""
MAX_NAME = 128
"""Characters of a label."""
_ADMINISTRATIVE = "IPC$"


class StatusError(ValueError):
    """The text is not what smbstatus prints."""


class Session(NamedTuple):
    """A user who has logged on from a client."""

    client: str
    """IP address."""
    user: str


def parse_sessions(output: bytes) -> dict[str, Session]:
    """What ``--processes`` lists, by number of the session. Raises :class:`StatusError`."""
    return {
        number: Session(_find_client(session.get("hostname")), clean_name(session.get("username")))
        for number, session in _list_entries(output, "sessions").items()
    }


def count_users(sessions: Iterable[Session]) -> Counter[tuple[str, str]]:
    """Sessions by client and user."""
    return Counter((session.client, session.user) for session in sessions)


def count_tree_connects(output: bytes, sessions: Mapping[str, Session]) -> Counter[tuple[str, str]]:
    """What ``--shares`` lists, by client and share. Raises :class:`StatusError`.

    The address is that of the session: what a tree connect has beside it is the client's name where
    smbd looks those up ("hostname lookups"). One whose session is not there has been made after
    that list, and its address is taken from there if it is one.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for entry in _list_entries(output, "tcons").values():
        share = clean_name(entry.get("service"))
        if share.upper() == _ADMINISTRATIVE:
            continue
        session = sessions.get(str(entry.get("session_id")))
        client = session.client if session else _name_address(str(entry.get("machine")))
        counts[client, share] += 1
    return counts


def clean_name(value: object) -> str:
    """A name as a label: of bounded length, and what cannot be printed as U+FFFD."""
    if not isinstance(value, str) or not value:
        return UNKNOWN
    return "".join(c if c.isprintable() else "\ufffd" for c in value[:MAX_NAME])


def _find_client(hostname: object) -> str:
    """Of ``ipv4:192.0.2.7:49152`` or ``ipv6:2001:db8::7:49152``."""
    family, _, rest = str(hostname).partition(":")
    return _name_address(rest.rpartition(":")[0]) if family in {"ipv4", "ipv6"} else UNKNOWN


def _name_address(text: str) -> str:
    """As traffic has it: without the IPv6 form of an IPv4 address."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return UNKNOWN
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def _list_entries(output: bytes, name: str) -> dict[str, Mapping[str, Any]]:
    """The objects of a list, which is an object itself; each is there, whatever it is."""
    try:
        status = json.loads(output.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        raise StatusError("no JSON") from None
    entries = status.get(name) if isinstance(status, dict) else None
    if not isinstance(entries, dict):
        raise StatusError(f"no list of {name}")
    return {number: entry if isinstance(entry, dict) else {} for number, entry in entries.items()}

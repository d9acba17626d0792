import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nfszbx.smb.status import (
    MAX_NAME,
    Session,
    StatusError,
    clean_name,
    count_tree_connects,
    count_users,
    parse_sessions,
)

RECORDED = Path(__file__).parents[2] / "fixtures/smbstatus"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def read(name: str) -> bytes:
    return (RECORDED / f"{name}-4.17.12.json").read_bytes()


def show(name: str, *entries: object) -> bytes:
    """What smbstatus would print of these."""
    return json.dumps({name: {str(n): entry for n, entry in enumerate(entries)}}).encode()


def test_users_by_client() -> None:
    assert count_users(parse_sessions(read("processes")).values()) == {
        ("127.0.2.1", "games"): 2,
        ("127.0.2.2", "games"): 1,
        ("::1", "nobody"): 1,
    }


def test_shares_by_client() -> None:
    assert count_tree_connects(read("shares"), parse_sessions(read("numeric"))) == {
        ("127.0.2.1", "share"): 1,
        ("127.0.2.1", "Team Fotos ÄÖ"): 1,
        ("127.0.2.2", "share"): 1,
        ("::1", "share"): 1,
    }


@pytest.mark.parametrize(
    ("hostname", "client"),
    [
        ("ipv4:192.0.2.7:49152", "192.0.2.7"),
        ("ipv6:2001:DB8::7:49152", "2001:db8::7"),
        ("ipv6:::ffff:192.0.2.7:49152", "192.0.2.7"),
        ("ipv6:fe80::1%eth0:49152", "fe80::1"),
        ("unix:/run/x:0", "unknown"),
        ("ipv4:name:1", "unknown"),
        ("", "unknown"),
        (None, "unknown"),
        (7, "unknown"),
    ],
)
def test_client_is_its_address_as_in_traffic(hostname: object, client: str) -> None:
    (session,) = parse_sessions(show("sessions", {"hostname": hostname, "username": "u"})).values()
    assert session == Session(client, "u")


def test_address_is_that_of_the_session_not_the_name_that_smbd_has_looked_up() -> None:
    tree_connect = {"service": "data", "session_id": "7", "machine": "pc.example.org"}
    sessions = {"7": Session("192.0.2.7", "u")}
    assert count_tree_connects(show("tcons", tree_connect), sessions) == {("192.0.2.7", "data"): 1}
    assert count_tree_connects(show("tcons", tree_connect), {}) == {("unknown", "data"): 1}
    tree_connect["machine"] = "192.0.2.8"
    assert count_tree_connects(show("tcons", tree_connect), {}) == {("192.0.2.8", "data"): 1}


def test_the_share_that_every_client_has_is_left_out() -> None:
    assert count_tree_connects(show("tcons", {"service": "IPC$"}, {"service": "ipc$"}), {}) == {}


def test_what_is_not_told_is_unknown_and_counts() -> None:
    assert count_users(parse_sessions(show("sessions", {}, "torn", None)).values()) == {
        ("unknown", "unknown"): 3
    }
    assert count_tree_connects(show("tcons", {}), {}) == {("unknown", "unknown"): 1}


@pytest.mark.parametrize(
    "output", [b"", b"{", b"[]", b"null", b'{"sessions": []}', b'{"tcons": {}}', b"[" * 100_000]
)
def test_other_text_is_refused(output: bytes) -> None:
    with pytest.raises(StatusError):
        parse_sessions(output)


def test_name_in_another_encoding_spoils_only_itself() -> None:
    output = show("sessions", {"hostname": "ipv4:192.0.2.7:1", "username": "J?rg"})
    (session,) = parse_sessions(output.replace(b"?", b"\xf6")).values()
    assert session == Session("192.0.2.7", "J\ufffdrg")


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
@settings(deadline=None)
def test_any_output_is_read_or_refused(output: bytes) -> None:
    for parse in (parse_sessions, lambda text: count_tree_connects(text, {})):
        with contextlib.suppress(StatusError):
            parse(output)


@given(st.lists(JSON))
@settings(deadline=None)
def test_every_entry_counts_once(entries: list[object]) -> None:
    assert len(parse_sessions(show("sessions", *entries))) == len(entries)


@given(st.text())
@settings(deadline=None)
def test_names_are_labels(name: str) -> None:
    cleaned = clean_name(name)
    assert cleaned.isprintable()
    assert 0 < len(cleaned) <= MAX_NAME
    if name.isprintable() and 0 < len(name) <= MAX_NAME:
        assert cleaned == name

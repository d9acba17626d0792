"""Servers are named as the Zabbix agent's configuration has it."""

import pytest

from nfszbx.nodes import Node, parse_node


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("zabbix.example.org", Node("zabbix.example.org", 10051)),
        ("zabbix:1234", Node("zabbix", 1234)),
        ("192.0.2.7:99", Node("192.0.2.7", 99)),
        ("2001:db8::1", Node("2001:db8::1", 10051)),
        ("[2001:db8::1]:99", Node("2001:db8::1", 99)),
        ("[::1]", Node("::1", 10051)),
    ],
)
def test_node_is_parsed(text: str, node: Node) -> None:
    assert parse_node(text, 10051) == node
    assert parse_node(str(node), 1) == node


@pytest.mark.parametrize(
    "text", ["", "a b", "host:", "host:0", "host:65536", "host:1:2", "[x", "::g"]
)
def test_node_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_node(text, 10051)

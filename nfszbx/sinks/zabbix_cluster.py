"""Speaks the trapper protocol with one Zabbix cluster: a server, its HA nodes, or a proxy.

The one module that uses zabbix-utils' half for the protocol: its packets and reading of answers;
the sender is not used, for its faults as of 2.0.4: a literal IPv6 address raises TypeError; only
refused and timed out connections and unknown names lead to the next node, without a cause in the
error; one cluster that is down keeps the values from the next one; a redirect to itself recurses
without end; an answer that trickles in has no deadline; connections stay open after errors.
"""

import json
import logging
import socket
import ssl
import zlib
from collections.abc import Sequence
from contextlib import closing

from zabbix_utils import ItemValue
from zabbix_utils.common import ZabbixProtocol
from zabbix_utils.types import TrapperResponse

from nfszbx.clock import monotonic_seconds
from nfszbx.errors import SinkUnavailableError
from nfszbx.nodes import Node, parse_node
from nfszbx.sinks.zabbix_tls import Tls, explain_tls_error
from nfszbx.spool_store import Entry

MAX_REDIRECTS = 3
MAX_ANSWER_BYTES = 1_000_000

# Its messages about packets are of no use to anybody.
_silent = logging.getLogger("zabbix_utils")
_silent.setLevel(logging.CRITICAL)


class ZabbixCluster:
    """One connection for each packet, as the protocol has it. Belongs to one thread."""

    def __init__(
        self,
        nodes: Sequence[Node],
        host: str,
        *,
        timeout_seconds: float,
        source_address: str | None = None,
        tls: Tls | None = None,
    ) -> None:
        """``host`` is the Zabbix host whose items are sent; ``timeout_seconds`` is for a packet."""
        self._nodes = tuple(nodes)
        self._host = host
        self._timeout_seconds = timeout_seconds
        self._source_address = source_address
        self._tls = tls
        self._best: Node | None = None
        """The node that has answered last; a proxy group may have redirected to it."""
        self.answered_by = ""
        self.name = f"zabbix {';'.join(map(str, self._nodes))}"

    def explain_refusal(self, topic: str) -> str:
        """What to look for; Zabbix itself does not tell."""
        return (
            f"it does not know the host '{self._host}' by this name, or its item {topic} (type "
            "Zabbix trapper, information text), or one of them is disabled or does not allow this "
            "sender, or the host wants encryption, or the server has not yet read its new "
            "configuration"
        )

    def send(self, entries: Sequence[Entry]) -> int:
        """How many of the values were refused; the server does not tell which.

        Raises :class:`SinkUnavailableError` when no node of the cluster has answered, with the
        causes; the values may have arrived all the same.
        """
        packet = self._make_packet(entries)
        problems = []
        candidates = dict.fromkeys([node for node in (self._best,) if node] + list(self._nodes))
        for node in candidates:
            try:
                refused, self._best = self._send_to(node, packet)
            except _NodeError as error:
                problems.append(f"{node}: {error}" if len(candidates) > 1 else str(error))
            else:
                self.answered_by = str(self._best)
                return refused
        self._best = None
        raise SinkUnavailableError("; ".join(problems))

    def probe(self) -> None:
        """Send a packet without values. Raises as :meth:`send`."""
        self.send([])

    def _make_packet(self, entries: Sequence[Entry]) -> bytes:
        items = []
        for entry in entries:
            seconds, nanoseconds = divmod(entry.unix_ns, 1_000_000_000)
            # Zabbix takes ns 0 for absent; clock and ns make a value sent twice the same one.
            item = ItemValue(self._host, entry.topic, entry.text, seconds, max(1, nanoseconds))
            items.append(item.to_json())
        request = {"request": "sender data", "data": items}
        return bytes(ZabbixProtocol.create_packet(request, _silent, compression=True))

    def _send_to(self, node: Node, packet: bytes) -> tuple[int, Node]:
        """How many values were refused, and by whom: the node may send us on to another one."""
        for _ in range(1 + MAX_REDIRECTS):
            answer = self._exchange(node, packet)
            redirect = answer.get("redirect")
            if isinstance(redirect, dict):
                node = self._follow(redirect, node)
                continue
            if answer.get("response") != "success":
                raise _NodeError(f"answered {json.dumps(answer):.200}")
            response = TrapperResponse()
            try:
                response.add(answer)
            except Exception as error:
                raise _NodeError(f"answered {json.dumps(answer):.200}") from error
            return int(response.failed), node
        raise _NodeError(f"redirects in a circle, at last to {node}")

    def _follow(self, redirect: dict[str, object], node: Node) -> Node:
        address = str(redirect.get("address", ""))
        try:
            return parse_node(address, node.port)
        except ValueError:
            raise _NodeError(f"redirects to '{address:.100}'") from None

    def _exchange(self, node: Node, packet: bytes) -> dict[str, object]:
        """Send the packet and read the answer, all of it within the time that a packet has."""
        deadline = monotonic_seconds() + self._timeout_seconds
        try:
            with closing(self._connect(node, deadline)) as connection:
                connection.settimeout(_time_left(deadline))
                connection.sendall(packet)
                reader = _Reader(connection, deadline)
                answer = json.loads(ZabbixProtocol.parse_sync_packet(reader, _silent, _NodeError))
        except TimeoutError:
            raise _NodeError(f"no answer within {self._timeout_seconds:g} s") from None
        except ssl.SSLError as error:
            raise _NodeError(f"TLS: {explain_tls_error(error, self._tls)}") from None
        except OSError as error:
            raise _NodeError(error.strerror or str(error)) from None
        except (ValueError, zlib.error) as error:
            raise _NodeError(f"no valid answer: {error}") from None
        except EOFError:
            cause = f"; {self._tls.meaning_of_an_end}" if self._tls else ""
            raise _NodeError(f"closed the connection without an answer{cause}") from None
        if not isinstance(answer, dict):
            raise _NodeError(f"no valid answer: {answer!r:.200}")
        return answer

    def _connect(self, node: Node, deadline: float) -> socket.socket:
        """A connection to the node's first address that takes one, with TLS where it is set."""
        connection = self._connect_to_any_address(node, deadline)
        if self._tls is None:
            return connection
        try:
            connection.settimeout(_time_left(deadline))
            return self._tls.begin(connection)
        except BaseException:
            connection.close()
            raise

    def _connect_to_any_address(self, node: Node, deadline: float) -> socket.socket:
        """Each gets its part of the time: one that swallows packets must not take it all."""
        source = (self._source_address, 0) if self._source_address else None
        found = socket.getaddrinfo(node.host, node.port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys((str(address[0]), node.port) for *_, address in found))
        for number, address in enumerate(addresses):
            left = _time_left(deadline) / (len(addresses) - number + 1)  # and one for the rest
            try:
                return socket.create_connection(address, left, source)
            except OSError:
                if number == len(addresses) - 1:
                    raise
        raise _NodeError("has no address")


class _NodeError(Exception):
    """One node did not take a packet, and why."""


class _Reader:
    """A connection as far as zabbix-utils reads it, with one deadline for the whole answer."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        self._allowed_bytes = MAX_ANSWER_BYTES

    def recv(self, size: int) -> bytes:
        """As that of a socket."""
        self._connection.settimeout(_time_left(self._deadline))
        data = self._connection.recv(min(size, self._allowed_bytes + 1))
        if not data and self._allowed_bytes == MAX_ANSWER_BYTES:
            raise EOFError
        self._allowed_bytes -= len(data)
        if self._allowed_bytes < 0:
            raise ValueError("it is too long")
        return data


def _time_left(deadline: float) -> float:
    """Raises TimeoutError when there is none."""
    left = deadline - monotonic_seconds()
    if left <= 0:
        raise TimeoutError
    return left

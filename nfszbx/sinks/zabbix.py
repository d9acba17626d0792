"""Sends each interval to a Zabbix server or proxy, as two documents for two trapper items.

The only importer of zabbix-utils. Its faults that are worked around here, as of 2.0.4: a literal
IPv6 address raises TypeError; refused, timed out and unknown names are one error without a cause;
a broken answer raises whatever its parser does; a "failed" answer is an OSError with a dict.
"""

import json
import logging
import socket
from contextlib import ExitStack

from zabbix_utils import ItemValue, Sender
from zabbix_utils.exceptions import ProcessingError

from nfszbx.config import ZabbixConfig
from nfszbx.document import make_document
from nfszbx.errors import SinkRefusedError, SinkUnavailableError
from nfszbx.samples import NANOSECONDS_PER_SECOND, Samples

TOTALS_KEY = "nfszbx.totals"
CLIENTS_KEY = "nfszbx.clients"

# It logs every refused connection at level error; the worker reports the first of a row.
logging.getLogger("zabbix_utils").setLevel(logging.CRITICAL)


class ZabbixSink:
    """One server; a connection for each interval, as the trapper protocol has it."""

    name = "zabbix"

    def __init__(self, config: ZabbixConfig) -> None:
        self._target = f"{config.server} port {config.port}"
        self._host = config.host or socket.gethostname()
        self._config = config

    def deliver(self, samples: Samples) -> None:
        """Send both documents; the server must say that it took both."""
        document = make_document(samples)
        clients = document.pop("clients")
        head = {"time": document["time"], "complete": document["complete"]}
        seconds, fraction = divmod(samples.unix_seconds, 1)
        # Zabbix takes ns 0 for absent; clock and ns make a value that is sent twice the same one.
        nanoseconds = max(1, int(fraction * NANOSECONDS_PER_SECOND))
        values = [
            ItemValue(self._host, key, json.dumps(content), int(seconds), nanoseconds)
            for key, content in (
                (TOTALS_KEY, document),
                (CLIENTS_KEY, {**head, "clients": clients}),
            )
        ]
        failed = self._send(values)
        if failed:
            raise SinkRefusedError(
                f"Zabbix at {self._target} refused {failed} of {len(values)} values for host "
                f"'{self._host}': it does not know the host by this name, or its items "
                f"{TOTALS_KEY} and {CLIENTS_KEY} (type Zabbix trapper, information text), or they "
                "are disabled, or do not allow this sender, or the host wants encryption, or the "
                "server has not yet read its new configuration"
            )

    def close(self) -> None:
        """Nothing is kept open between intervals."""

    def _send(self, values: list[ItemValue]) -> int:
        """How many of the values the server refused; tries every address of its name."""
        problem = "no address"
        try:
            addresses = socket.getaddrinfo(
                self._config.server, self._config.port, type=socket.SOCK_STREAM
            )
            for family, _, _, _, address in addresses:
                try:
                    return self._send_to(family, str(address[0]), values)
                except ProcessingError as error:
                    problem = self._find_cause(str(address[0])) or str(error)
                except OSError as error:
                    problem = error.strerror or str(error)
        except OSError as error:  # the name cannot be resolved
            problem = error.strerror or str(error)
        except Exception as error:  # noqa: BLE001  what its parser does to a broken answer
            problem = f"no valid answer: {error!r:.200}"
        raise SinkUnavailableError(f"Zabbix at {self._target}: {problem}")

    def _send_to(self, family: int, address: str, values: list[ItemValue]) -> int:
        """Send to one address, past the library's parser, which does not understand IPv6."""
        with ExitStack() as connections:  # the library leaves them open when something fails

            def keep(connection: socket.socket, _: object) -> socket.socket:
                return connections.enter_context(connection)

            sender = Sender(
                "placeholder",
                self._config.port,
                timeout=self._config.timeout_seconds,
                use_ipv6=family == socket.AF_INET6,
                socket_wrapper=keep,
            )
            sender.clusters[0].nodes[0].address = address
            return int(sender.send(values).failed)

    def _find_cause(self, address: str) -> str:
        """Why no connection comes about, which the library does not tell; or nothing."""
        try:
            target = (address, self._config.port)
            socket.create_connection(target, self._config.timeout_seconds).close()
        except OSError as error:
            return error.strerror or str(error)
        return ""

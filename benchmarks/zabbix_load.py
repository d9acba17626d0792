"""What many clients cost a Zabbix server: ``python -m benchmarks.zabbix_load [CLIENTS ...]``.

For each version of Zabbix and number of clients: a server of the tests' kind with the template, and
documents of that many clients, all of which have moved something. Needs what ``make test`` needs.
The result is a table in Markdown. Wire bytes are those of a document of the clients; processor time
is that of the server and its database for one document, after discovery; the delay is that from the
document to the last client's value in the database; memory is that of the configuration cache.
"""

import os
import random
import socket
import socketserver
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from nfszbx import catalog
from nfszbx.config import Config
from nfszbx.samples import ClientBytes, Sample, Samples
from nfszbx.sinks.spooled import SpooledSink
from nfszbx.sinks.zabbix import make_clusters, open_zabbix
from nfszbx.template.parts import TEMPLATE
from nfszbx.zabbix.api import ZabbixApi
from nfszbx.zabbix.host import create_host, find_template, import_template
from tests.sinks.zabbix_programs import Installation, get_debian_12, get_debian_13
from tests.sinks.zabbix_server import HistoryValue, ZabbixServer

SERVERS: dict[str, Callable[[], Installation]] = {"6.0": get_debian_12, "7.0": get_debian_13}
DOCUMENTS = 5
INTERVAL_SECONDS = 10.0
HOST = "benchmark"
CACHE_KEY = "zabbix[rcache,buffer,used]"


class Relay(socketserver.ThreadingTCPServer):
    """Passes connections on to a server, and counts what it is sent."""

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.target = ("127.0.0.1", port)
        self.largest_bytes = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Connection(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        relay = self.server
        assert isinstance(relay, Relay)
        with socket.create_connection(relay.target) as server:
            back = threading.Thread(target=copy, args=(server, self.request), daemon=True)
            back.start()
            count = copy(self.request, server)
            back.join()
            relay.largest_bytes = max(relay.largest_bytes, count)


def copy(source: socket.socket, target: socket.socket) -> int:
    """Until its end; the bytes."""
    count = 0
    while data := source.recv(1 << 16):
        target.sendall(data)
        count += len(data)
    target.shutdown(socket.SHUT_WR)
    return count


def make_samples(clients: int, unix_seconds: float) -> Samples:
    """Every client has moved something."""
    luck = random.Random(unix_seconds)  # noqa: S311  figures that compress as badly as real ones
    client_bytes: ClientBytes = {
        (metric, ("nfsd", "tcp")): {
            address(number): luck.randrange(10**9) for number in range(clients)
        }
        for metric in (catalog.CLIENT_RECEIVE_BYTES, catalog.CLIENT_TRANSMIT_BYTES)
    }
    samples = (
        Sample(catalog.CHILD_UP, (), 1),
        Sample(catalog.RECEIVE_BYTES, ("nfsd", "tcp"), 1),
        Sample(catalog.TRANSMIT_BYTES, ("nfsd", "tcp"), 1),
    )
    return Samples(
        unix_seconds,
        complete=True,
        samples=samples,
        seconds=INTERVAL_SECONDS,
        timed=True,
        client_bytes=client_bytes,
    )


def read_processor_seconds(group: int) -> float:
    """Of all processes of a process group since they began."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def prepare(zabbix: ZabbixServer) -> str:
    """Template, host, and an item that tells how full the server's cache is; the host's id."""
    settings = {"url": zabbix.frontend_url, "token": zabbix.create_token()}
    api = ZabbixApi(Config.model_validate({"zabbix": {"api": settings}}).zabbix.api)
    import_template(api)
    template_id = find_template(api)
    assert template_id, TEMPLATE
    host_id = create_host(api, HOST, "Linux servers", template_id, {})
    internal = {"type": 5, "value_type": 3, "delay": "1s", "name": "cache", "key_": CACHE_KEY}
    zabbix.call("item.create", {"hostid": host_id, **internal})
    zabbix.synchronise()
    return host_id


def measure(version: str, clients: int) -> str:
    """A row of the table."""
    settings = "CacheSize=512M\nValueCacheSize=64M\n"
    with (
        tempfile.TemporaryDirectory() as folder,
        ZabbixServer(Path(folder), SERVERS[version](), server_settings=settings) as zabbix,
        Relay(zabbix.trapper_port) as relay,
    ):
        host_id = prepare(zabbix)
        cache_bytes = read_cache_bytes(zabbix, host_id)
        config = {
            "servers": [f"127.0.0.1:{relay.server_address[1]}"],
            "host": HOST,
            "max_clients": clients,
            "clients_interval_seconds": int(INTERVAL_SECONDS),
            "timeout_seconds": 60,
        }
        opened = Config.model_validate({"zabbix": config})
        sink = open_zabbix(opened, Path(folder), make_clusters(opened.zabbix))
        begin = time.time()
        sink.put(make_samples(clients, begin))
        key = f'nfszbx.client.receive_bytes_per_second["nfsd {address(clients - 1)}"]'
        while not zabbix.find_items(host_id, key):
            time.sleep(1.0)
        discovered = time.time() - begin
        rounds = [measure_document(zabbix, sink, host_id, key, clients) for _ in range(DOCUMENTS)]
        acknowledged, stored, processor = (
            statistics.median(figures) for figures in zip(*rounds, strict=True)
        )
        sink.stop(10.0)
        zabbix.synchronise()  # triggers are discovered after items, and are all there by now
        cache_bytes = (read_cache_bytes(zabbix, host_id) - cache_bytes) // clients
        return (
            f"| {version} | {clients:,} | {relay.largest_bytes / 1000:.0f} kB "
            f"| {acknowledged:.2f} s | {stored:.1f} s | {processor:.2f} s | {discovered:.0f} s "
            f"| {cache_bytes / 1000:.1f} kB |"
        )


def measure_document(
    zabbix: ZabbixServer, sink: SpooledSink, host_id: str, key: str, clients: int
) -> tuple[float, float, float]:
    """Seconds until it is acknowledged, and until it is stored; processor seconds."""
    time.sleep(INTERVAL_SECONDS / 2)
    before = sum(map(read_processor_seconds, zabbix.process_groups))
    taken = sink.healths()[0].delivered
    begin = time.time()
    sink.put(make_samples(clients, begin))
    while sink.healths()[0].delivered < taken + 2:
        time.sleep(0.002)
    acknowledged = time.time() - begin
    while zabbix.read_history(host_id, key)[-1:] < [HistoryValue(int(begin), 0, "")]:
        time.sleep(0.05)
    stored = time.time() - begin
    time.sleep(INTERVAL_SECONDS / 2)
    processor = sum(map(read_processor_seconds, zabbix.process_groups)) - before
    return acknowledged, stored, processor


def address(number: int) -> str:
    """Of the client with this number."""
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"


def read_cache_bytes(zabbix: ZabbixServer, host_id: str) -> int:
    """What is in use of the configuration cache, as the server says next."""
    begin = int(time.time()) + 1
    while not (values := zabbix.read_history(host_id, CACHE_KEY)) or values[-1].clock <= begin:
        time.sleep(0.2)
    return int(values[-1].value)


def main() -> None:
    """Print the table."""
    counts = [int(word) for word in sys.argv[1:]] or [1000, 10_000]
    print(
        "| Zabbix | clients | wire | acknowledged | stored | server's processor time "
        "| discovered | cache per client |\n|---|---:|---:|---:|---:|---:|---:|---:|"
    )
    for version in SERVERS:
        for clients in counts:
            print(measure(version, clients), flush=True)


if __name__ == "__main__":
    main()

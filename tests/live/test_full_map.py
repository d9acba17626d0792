"""More clients than the kernel's map has room for: its bound holds, and every byte is counted.

Then another bpftrace takes over, with an empty map.
"""

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.live.running import NfszbxRun, client_bytes
from tests.network import free_port

MAP_MAX_ENTRIES = 1024
TAKEN_OVER = "the new bpftrace counts, the old one has ended"
MAX_DUMPS = 60
CLIENTS = 1000
REQUEST, ANSWER = b"x" * 300, b"y" * 500


@pytest.fixture
def run() -> Iterator[tuple[NfszbxRun, int]]:
    """Measures a port of ours as if it were nfsd's."""
    port = free_port()
    environment = {
        "NFSZBX_MAP_MAX_ENTRIES": str(MAP_MAX_ENTRIES),
        "NFSZBX_MAX_CLIENTS": "100",
        "NFSZBX_SERVICES__NFSD__PORTS": f"[{port}]",
    }
    with NfszbxRun(environment=environment) as started:
        yield started, port


def test_clients_beyond_the_map_are_other(run: tuple[NfszbxRun, int]) -> None:
    """Each client takes two entries, one for each direction."""
    nfszbx, port = run
    with socket.create_server(("0.0.0.0", port)) as listener:  # noqa: S104  loopback has them all
        for number in range(CLIENTS):
            exchange(listener, port, f"127.1.{number // 250}.{1 + number % 250}")
    while not any(TAKEN_OVER in line for line in nfszbx.log_lines):
        assert len(nfszbx.documents) < MAX_DUMPS
        nfszbx.wait_for_dump()
    document = nfszbx.wait_for_dump()
    assert max(each["health"]["map_entries"] for each in nfszbx.documents) == MAP_MAX_ENTRIES
    assert document["health"]["map_entries"] < MAP_MAX_ENTRIES
    assert document["health"]["map_max_entries"] == MAP_MAX_ENTRIES
    assert all(each["complete"] for each in nfszbx.documents)
    service = document["services"]["nfsd"]
    assert service["receive_bytes_total"] == CLIENTS * len(REQUEST)
    assert service["transmit_bytes_total"] == CLIENTS * len(ANSWER)
    rows = client_bytes(document, "nfsd")
    assert len({client for client, _ in rows} - {"other"}) <= 100
    for direction in ("receive", "transmit"):
        counts = [count for (_, way), count in rows.items() if way == direction]
        assert sum(counts) == service[f"{direction}_bytes_total"]
    lines = [line for line in nfszbx.log_lines if "map of clients is nearly full" in line]
    assert len(lines) == 1


def exchange(listener: socket.socket, port: int, client: str) -> None:
    """One connection: a request and its answer."""
    peer = socket.create_connection(("127.0.0.1", port), source_address=(client, 0))
    with closing(peer), listener.accept()[0] as served:
        peer.sendall(REQUEST)
        assert len(served.recv(len(REQUEST), socket.MSG_WAITALL)) == len(REQUEST)
        served.sendall(ANSWER)
        assert len(peer.recv(len(ANSWER), socket.MSG_WAITALL)) == len(ANSWER)

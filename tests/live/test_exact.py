"""The numbers are right: equal to the kernel's own socket counters, to the byte."""

import signal
import socket
import struct
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from tests.live.running import Document, NfszbxRun, client_bytes
from tests.live.samba import CLIENTS, SambaServer

MEGABYTES_PER_CLIENT = 180  # three clients: 540 MB each way
ATTEMPTS = 30


@pytest.fixture
def payload(tmp_path: Path) -> Path:
    path = tmp_path / "payload"
    path.write_bytes(bytes(range(256)) * 4096 * MEGABYTES_PER_CLIENT)
    return path


def test_bytes_per_client_equal_the_socket_counters(samba: SambaServer, payload: Path) -> None:
    """Three clients at once, two over IPv4 and one over IPv6, each way, against ``ss -ti``."""
    with NfszbxRun() as run:
        clients = [samba.connect(address) for address in CLIENTS]
        try:
            for number, client in enumerate(clients):
                client.start(f'put "{payload}" f{number}')
            for number, client in enumerate(clients):
                client.finish()
                client.start(f"get f{number} /dev/null")
            for client in clients:
                client.finish()
            document, truth = _read_both_at_rest(run, samba)
        finally:
            for client in clients:
                client.close()

        counted = client_bytes(document, "smbd")
        for address in CLIENTS.values():
            for direction in ("receive", "transmit"):
                assert counted[address, direction] == truth[address, direction]
        assert set(truth) == {(a, d) for a in CLIENTS.values() for d in ("receive", "transmit")}
        for direction in ("receive", "transmit"):
            moved = sum(truth[address, direction] for address in CLIENTS.values())
            assert moved >= 500_000_000
        _assert_rows_add_up(document)
        assert run.stop(signal.SIGTERM) == 0
    assert all(document["complete"] for document in run.documents)
    assert document["health"]["missed_runs_total"] == 0


def test_clients_beyond_the_limit_are_the_row_other(samba: SambaServer, tmp_path: Path) -> None:
    """With one row for three clients, that row and ``other`` still add up to the total."""
    payload = tmp_path / "payload"
    payload.write_bytes(b"x" * 1_000_000)
    with NfszbxRun(["--max-clients", "1"]) as run:
        for number, address in enumerate(CLIENTS):
            with samba.connect(address) as client:
                client.start(f'put "{payload}" g{number}')
                client.finish()
        document = run.wait_for_dump()
        document = run.wait_for_dump()
        assert len({row["client"] for row in document["clients"]}) == 2
        assert client_bytes(document, "smbd")["other", "receive"] > 2_000_000
        _assert_rows_add_up(document)
        for earlier in run.documents:
            _assert_rows_add_up(earlier)


def _read_both_at_rest(
    run: NfszbxRun, samba: SambaServer
) -> tuple[Document, Counter[tuple[str, str]]]:
    """A document and the socket counters, which were the same before and after it.

    smbclient asks its server for a sign of life from time to time; whatever that does to one
    side and not yet to the other is no matter of exactness, so such a reading is taken again.
    """
    for _ in range(ATTEMPTS):
        before = samba.read_socket_bytes()
        document = run.wait_for_dump()
        document = run.wait_for_dump()
        if samba.read_socket_bytes() == before:
            return document, before
    raise AssertionError("the connections never came to rest")


def _assert_rows_add_up(document: Document) -> None:
    for service, totals in document["services"].items():
        for direction in ("receive", "transmit"):
            field = f"{direction}_bytes_total"
            rows = [row[field] for row in document["clients"] if row["service"] == service]
            assert sum(rows) == totals[field]


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def test_bytes_read_after_the_client_has_reset_the_connection(
    family: socket.AddressFamily,
) -> None:
    """The kernel forgets the port of such a socket before the server has read what arrived."""
    address = "127.0.0.1" if family is socket.AF_INET else "::1"
    with (
        socket.create_server((address, 0), family=family) as listener,
        NfszbxRun(
            environment={"NFSZBX_SERVICES__NFSD__PORTS": str([listener.getsockname()[1]])}
        ) as run,
    ):
        client = socket.create_connection(listener.getsockname()[:2])
        served, _ = listener.accept()
        with served:
            client.sendall(b"x" * 50_000)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            read = 0
            with suppress(ConnectionResetError):
                while data := served.recv(5_000):
                    read += len(data)
        document = run.wait_for_dump()
        assert read > 0
        assert client_bytes(document, "nfsd")[address, "receive"] == read

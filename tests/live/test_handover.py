"""Planned changes under load: a new bpftrace takes over from the old one, and nothing is missed."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest

from tests.live.moving import moving_data
from tests.live.running import client_bytes
from tests.live.samba import CLIENTS, SambaServer
from tests.live.service import Service
from tests.processes import wait_until_gone

TAKEN_OVER = "the new bpftrace counts, the old one has ended"
MAP_SIZES = (16_384, 8_192, 16_384, 8_192)
SETTLING_DUMPS = 4
MAX_DUMPS = 60


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path)
    with service.run:
        yield service
    service.close()


def wait_for_takeovers(service: Service, count: int) -> None:
    for _ in range(MAX_DUMPS):
        service.run.wait_for_dump()
        if sum(TAKEN_OVER in line for line in service.run.log_lines) == count:
            return
    raise AssertionError(service.run.log_lines)


def test_no_byte_is_lost_or_counted_twice(
    service: Service, samba: SambaServer, tmp_path: Path
) -> None:
    """Four reloads under three clients: every interval is whole, and the sums are the sockets'."""
    payload = tmp_path / "payload"
    payload.write_bytes(b"x" * 10_000_000)
    with ExitStack() as stack:
        clients = [stack.enter_context(samba.connect(address)) for address in CLIENTS]
        pids = service.run.child_pids()
        with ExitStack() as moving:
            for client in clients:
                moving.enter_context(moving_data(client, payload))
            service.run.wait_for_dump()
            for number, entries in enumerate(MAP_SIZES, start=1):
                service.reload(f"interval_seconds = 1\nmap_max_entries = {entries}\n")
                wait_for_takeovers(service, number)
                pids += service.run.child_pids()
        last = [service.run.wait_for_dump() for _ in range(SETTLING_DUMPS)][-1]
        truth = samba.read_socket_bytes()
        assert service.run.stop(signal.SIGTERM) == 0
    counted = client_bytes(last, "smbd")
    for key in ((client, d) for client in CLIENTS.values() for d in ("receive", "transmit")):
        assert counted[key] == truth[key]
    assert len(set(pids)) == len(pids) == 1 + len(MAP_SIZES)
    assert all(wait_until_gone(pid) for pid in pids)
    assert all(document["complete"] for document in service.run.documents)
    assert last["health"]["gaps_total"] == 0
    assert set(last["health"]["child_restarts_total"].values()) == {0}
    for before, after in pairwise(service.run.documents):
        for key, count in client_bytes(before, "smbd").items():
            assert client_bytes(after, "smbd")[key] >= count or key[0] not in CLIENTS.values()

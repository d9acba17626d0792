"""The kernel's own counters per socket, as ``ss`` prints them: the truth that nfszbx must equal."""

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.socket_counters import name_client, read_counters
from tests.vm.guest.clients import run
from tests.vm.guest.servers import SERVICES

QUIET_SECONDS = 1.0


class Flow(NamedTuple):
    """What the bytes are counted for."""

    service: str
    client: str
    direction: str


@dataclass(frozen=True)
class Socket:
    """One connection of a server's."""

    service: str
    client: str
    port: int
    """The client's; a client that connects anew gets another one."""


Bytes = dict[Socket, dict[str, int]]


def read_sockets() -> Bytes:
    """The bytes received and sent (acknowledged) on every connection of the servers."""
    ports = " or ".join(f"sport = :{port}" for port in SERVICES)
    sockets: Bytes = {}
    for line in run("ss", "-tinHO", f"( {ports} )").splitlines():
        local, peer = line.split()[3:5]
        address, _, port = peer.rpartition(":")
        service = SERVICES[int(local.rpartition(":")[2])]
        sockets[Socket(service, name_client(address), int(port))] = read_counters(line)
    return sockets


def wait_until_quiet(timeout_seconds: float = 120.0) -> Bytes:
    """The counters, once they have stood still for a while."""
    deadline = time.monotonic() + timeout_seconds
    before = read_sockets()
    while time.monotonic() < deadline:
        time.sleep(QUIET_SECONDS)
        after = read_sockets()
        if after == before:
            return after
        before = after
    raise RuntimeError("the connections do not come to rest")


def subtract(after: Bytes, before: Bytes) -> Counter[Flow]:
    """What flowed in between. Raises when a connection has gone, and its counters with it."""
    if gone := before.keys() - after.keys():
        raise RuntimeError(f"connections have closed within a measurement: {gone}")
    flows: Counter[Flow] = Counter()
    for socket, counts in after.items():
        for direction, count in counts.items():
            flow = Flow(socket.service, socket.client, direction)
            flows[flow] += count - before.get(socket, {}).get(direction, 0)
    return flows


def read_mount_bytes(place: Path) -> tuple[int, int]:
    """What the server has received and sent, in RPC messages, as the client of an NFS mount says.

    ``/proc/self/mountstats``, per operation: calls, transmissions, timeouts, bytes sent, received.
    """
    received = transmitted = 0
    text = Path("/proc/self/mountstats").read_text()
    _, _, entry = text.partition(f" mounted on {place} ")
    for line in entry.partition("\ndevice ")[0].partition("per-op statistics")[2].splitlines():
        fields = line.split()
        if len(fields) >= 9:
            received += int(fields[4])
            transmitted += int(fields[5])
    return received, transmitted

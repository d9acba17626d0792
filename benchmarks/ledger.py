"""What the ledger costs: processor time per dump, without and after a gap, beside the reading.

Every connection is of a client of its own, and moves at every dump. Run as
``python -m benchmarks.ledger [CONNECTIONS]``; ``benchmarks/audit.py`` has the reading itself.
"""

import sys
import time
from statistics import median

from nfszbx.accounts import Accounts
from nfszbx.connections import Connection, Sight
from nfszbx.dump import Dump
from nfszbx.ledger import Ledger
from nfszbx.plan import PortGroup
from nfszbx.traffic import Direction, Service, Slot, name_client

DUMPS = 20
NFS_PORT = 2049
BYTES_PER_DUMP = 1000


def make_address(number: int) -> bytes:
    """Of a client, by number."""
    return bytes(10) + b"\xff\xff" + number.to_bytes(4, "big")


def make_sight(connections: int, dump: int, end_ns: int) -> Sight:
    """After so many dumps."""
    moved = dump * BYTES_PER_DUMP
    is_over = False
    return Sight(
        {
            (1, number): Connection(
                NFS_PORT, make_address(number), is_over, is_over, 0, 0, moved, moved
            )
            for number in range(connections)
        },
        end_ns,
        frozenset({1}),
    )


def make_dump(connections: int, dump: int, begin_ns: int, end_ns: int) -> Dump:
    """Of everything since the begin."""
    return Dump(
        begin_ns,
        end_ns,
        {},
        {
            (Slot(Service.NFSD, direction), name_client(make_address(number))): dump
            * BYTES_PER_DUMP
            for number in range(connections)
            for direction in Direction
        },
        closed_bytes={},
    )


def measure(connections: int, *, after_gap: bool) -> float:
    """Seconds of processor time per dump."""
    ledger, seconds = Ledger(Accounts([PortGroup((Service.NFSD,), (NFS_PORT,))])), []
    for dump in range(1, DUMPS):
        end_ns = 10 * dump
        sights = [make_sight(connections, dump, end_ns + shift) for shift in (-2, -1, 1)]
        given = make_dump(connections, dump, begin_ns=1 + after_gap * (dump > 1), end_ns=end_ns)
        looks_before = after_gap or dump == 1
        began = time.process_time()
        twin = ledger.copy()
        twin.take_dump(given, (sights[0], sights[1]) if looks_before else None)
        ledger = twin
        ledger.take_after(sights[2])
        seconds.append(time.process_time() - began)
    return median(seconds)


def main() -> None:
    """Print both."""
    connections = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    for name, after_gap in (("without a gap", False), ("after a gap", True)):
        seconds = measure(connections, after_gap=after_gap)
        print(f"{connections} connections, {name}: {1000 * seconds:.0f} ms per dump")


if __name__ == "__main__":
    main()

"""Compares what nfszbx says of NFS operations with the kernel's own counts, and with known work.

``python3 -m tests.vm.guest.operations WAY`` prints all of it as one line of JSON, last.
"""

import functools
import json
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from nfszbx.operations.kernel_counts import LASTING_NS
from tests.vm.guest import servers
from tests.vm.guest.clients import CLIENTS
from tests.vm.guest.counting import INTERVAL_SECONDS, Way
from tests.vm.guest.known_work import (
    DELAY_MILLISECONDS,
    MOUNTS,
    SAME_IN_4,
    SLOW_EXPORT,
    SLOW_FILES,
    USER,
    WITHOUT_EXPORT,
    Mount,
    make_exports,
    make_slow_export,
    read_mount_counts,
    read_slowly,
    work,
    work_as_user,
)
from tests.vm.guest.operations_monitor import (
    NOT_IN_PROC,
    Counts,
    Key,
    Monitor,
    Names,
)
from tests.vm.guest.scenarios import mounted_by_rdma
from tests.vm.guest.udp_client import GETATTR, NFS, make_call, pack_opaque
from tests.vm.guest.workloads import do_at_once

MANY_THREADS = 8
UNTIL_TOLD_SECONDS = 2 * LASTING_NS / 1e9 + 2 * INTERVAL_SECONDS
UDP_BLOCKS = 20
REMOVE = 12
KINDS = ("read", "write", "copy")


def count_since(monitor: Monitor, first: Counts) -> Counts:
    """What was counted; if that is too little, when nfszbx has had the time to say so."""
    counted = monitor.read().since(first)
    if any(ours != true for ours, true in _compare_with_kernel(counted).values()):
        time.sleep(UNTIL_TOLD_SECONDS)
        counted = monitor.read().since(first)
    return counted


def measure_tcp(monitor: Monitor) -> dict[str, Any]:
    """Known work by every mount, one after the other; the counts beside each truth."""
    moved: dict[str, Counter[Names]] = {kind: Counter() for kind in KINDS}
    by_user: Counter[Names] = Counter()
    calls: Counter[Names] = Counter()
    first = monitor.read()
    for mount in MOUNTS:
        who = (mount.version, mount.address, str(mount.export))
        with mount.mounted() as place:
            of_root = work(place, copies=mount.version == "4.2")
            of_user = work_as_user(place)
            for kind, count in (of_root + of_user).items():
                moved[kind][who] += count
            for kind, count in of_user.items():
                by_user[kind, *who] += count
            sent = read_mount_counts(place)
        for name, count in sent.items():
            if name in SAME_IN_4 or (mount.version == "3" and name not in WITHOUT_EXPORT):
                calls[mount.version, name, *who[1:]] += count
    send_again()
    counted = count_since(monitor, first)
    by_kind = {kind: counted.rows.get(f"{kind}_bytes_total", Counter[Key]()) for kind in KINDS}
    return {
        "operations": _compare_with_kernel(counted),
        "uncounted": {" ".join(name): count for name, count in counted.uncounted.items()},
        "calls": _compare_with_clients(counted, calls),
        "bytes": {
            kind: _pair(_sum(by_kind[kind], lambda key: (key[0], *key[2:4])), moved[kind])
            for kind in KINDS
        },
        "users": _pair(
            Counter(
                {
                    (kind, *name): count
                    for kind in KINDS
                    for name, count in _sum(
                        Counter({k: n for k, n in by_kind[kind].items() if k.user == str(USER)}),
                        lambda key: (key[0], *key[2:4]),
                    ).items()
                }
            ),
            by_user,
        ),
        "results": _pair(
            Counter({name: n for name, n in counted.requests.items() if name[2] != "executed"}),
            Counter({("3", "REMOVE", "cached"): 1, ("3", "GETATTR", "undecodable"): 1}),
        ),
    }


def measure_transports(monitor: Monitor) -> dict[str, Any]:
    """Over UDP and RDMA, clients of known addresses; the counts beside each truth."""
    calls: Counter[Names] = Counter()
    servers.listen("udp", servers.NFS_PORT)
    servers.start_rdma()
    first = monitor.read()
    for client in CLIENTS:
        ipv6 = client.number % 2 == 0
        program = ("python3", "-m", "tests.vm.guest.udp_client")
        client.run(*program, client.server(ipv6=ipv6), str(servers.EXPORT), str(UDP_BLOCKS))
        for name in ("READ", "WRITE"):
            calls["3", name, client.address(ipv6=ipv6), str(servers.EXPORT)] += UDP_BLOCKS
    with mounted_by_rdma() as places:
        for number, (address, place) in enumerate(places.items()):
            folder = place / f"operations{number}"
            folder.mkdir()
            work(folder, copies=False)
            version = "3" if number else "4.2"
            for name, count in read_mount_counts(place).items():
                if count and name in SAME_IN_4:
                    calls[version, name, address, str(servers.EXPORT)] += count
    counted = count_since(monitor, first)
    return {
        "operations": _compare_with_kernel(counted),
        "uncounted": {" ".join(name): count for name, count in counted.uncounted.items()},
        "calls": _compare_with_clients(counted, calls),
    }


def measure_latency(monitor: Monitor) -> dict[str, list[float]]:
    """By version, the medians that reads of a slow device had, interval by interval."""
    medians: dict[str, list[float]] = {}
    for version, name in zip(("3", "4.2"), SLOW_FILES, strict=True):
        with Mount(CLIENTS[0], version, SLOW_EXPORT).mounted() as place:
            begun = time.time()
            read_slowly(place / name, blocks=range(20))
            monitor.wait()
        medians[version] = [
            row["request_p50_seconds"]
            for document in monitor.list_since(begun)
            for row in document["latency"]
            if row["version"] == version
            and row["operation"] in ("READ", "READ_PLUS")
            and "request_p50_seconds" in row
        ]
    return medians


def measure_waits(monitor: Monitor) -> dict[int, dict[str, list[float]]]:
    """By threads of nfsd, what each interval told while two clients read from a slow device."""
    found = {}
    with ExitStack() as stack:
        mounts = [Mount(client, "3", SLOW_EXPORT) for client in CLIENTS[: len(SLOW_FILES)]]
        places = [stack.enter_context(mount.mounted()) for mount in mounts]
        for threads, blocks in ((1, range(20, 54)), (MANY_THREADS, range(54, 104))):
            Path("/proc/fs/nfsd/threads").write_text(str(threads))
            monitor.wait()
            begun = time.time()
            do_at_once(
                functools.partial(read_slowly, place / name, blocks)
                for place, name in zip(places, SLOW_FILES, strict=True)
            )
            ended = time.time()
            documents = monitor.list_since(begun + 2 * INTERVAL_SECONDS)  # these lie in between
            values = [document["nfs"] for document in documents if document["time"] < ended]
            found[threads] = {
                name: [nfs[name] for nfs in values if name in nfs]
                for name in ("threads", "threads_busy", "thread_wait_p95_seconds")
            }
            reads = len(places) * len(blocks)
            at_the_device = reads * DELAY_MILLISECONDS / 1000 / (ended - begun)
            found[threads]["busy_at_the_device"] = [at_the_device]
    return found


def send_again() -> None:
    """A request (REMOVE) twice, so that the second is answered from the cache; one undecodable."""
    handle = pack_opaque(bytes(8))
    remove = make_call(NFS, REMOVE, handle + pack_opaque(b"name"))
    undecodable = make_call(NFS, GETATTR, struct.pack(">I", 200))
    with socket.create_connection((CLIENTS[0].server(), servers.NFS_PORT), 30.0) as connection:
        for message in (remove, remove, undecodable):
            connection.sendall(struct.pack(">I", 1 << 31 | len(message)) + message)
            connection.recv(4096)


def _compare_with_kernel(counted: Counts) -> dict[str, tuple[int, int]]:
    """Of versions 2 and 3 the kernel counts requests, of version 4 what was carried out."""
    ours = _sum(
        Counter({key: n for key, n in counted.rows["operations_total"].items() if key[0] > "4"}),
        lambda key: (key.version[0], key.operation),
    )
    for (version, procedure, _), count in counted.requests.items():
        if version < "4" and not procedure.startswith(NOT_IN_PROC):
            ours[version, procedure] += count
    return _pair(ours, counted.kernel)


def _compare_with_clients(counted: Counts, calls: Counter[Names]) -> dict[str, tuple[int, int]]:
    """By version, name, client and export, as far as the clients tell."""
    ours = _sum(counted.rows["operations_total"], lambda key: key[:4])
    return _pair(Counter({name: ours[name] for name in calls}), calls)


def _sum(counts: Counter[Key], name: Callable[[Key], Names]) -> Counter[Names]:
    sums: Counter[Names] = Counter()
    for key, count in counts.items():
        sums[name(key)] += count
    return sums


def _pair(counted: Counter[Names], truth: Counter[Names]) -> dict[str, tuple[int, int]]:
    """By name, what was counted and what is true."""
    names = sorted(counted.keys() | truth.keys())
    return {" ".join(name): (counted[name], truth[name]) for name in names}


def main() -> None:
    """Everything beside one nfszbx, that of the way that is named."""
    make_exports()
    make_slow_export()
    monitor = Monitor(Way(sys.argv[1]))
    results = {}
    for measure in (measure_tcp, measure_transports, measure_latency, measure_waits):
        begun = time.monotonic()
        results[measure.__name__.removeprefix("measure_")] = measure(monitor)
        print(f"{measure.__name__} took {time.monotonic() - begun:.0f} s")
    print(json.dumps(results))


if __name__ == "__main__":
    main()

"""In a virtual machine whose clock counts instructions, so that the same work takes the same time.

It has one processor, which takes a nanosecond for each instruction; whatever a contender does is
time that server and client do not have. NFS and SMB by the kernel's own clients, from a network
namespace, without caches. The servers have their files in memory.
"""

import mmap
import os
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.impact.measuring import (
    AGAIN,
    NETHOGS,
    NFSZBX,
    NOTHING,
    ONE_COUNTER,
    Felt,
    Result,
    Run,
    measure,
    nfszbx,
    nothing,
    one_counter,
    program,
)
from benchmarks.kernel.contenders import FUNCTIONS, find_tcptops
from tests.vm.guest import servers
from tests.vm.guest.clients import CLIENTS, make_clients, run

ROUNDS = 3
WORK_SECONDS = 10
"""As long as nfszbx' default interval: there is one dump in each."""
BLOCK_BYTES = 1 << 20
BLOCKS = 64
SMALL_BYTES = 4096
READS = 64
"""Between one large block and the next."""


def measure_in_machine(built: Path) -> Result:
    """To be run inside. ``built`` is the folder with tcptop of libbpf-tools."""
    make_clients()
    for folder in (servers.EXPORT, servers.SMB_FOLDER):
        folder.mkdir(parents=True, exist_ok=True)
        run("mount", "-t", "tmpfs", "tmpfs", str(folder))
    servers.start_nfsd()
    servers.start_smbd()
    nfs, smb = CLIENTS[:2]
    share = f"//{smb.server()}/copied"
    options = f"vers=3.1.1,cache=none,user={servers.USER},pass={servers.PASSWORD}"
    works = {
        "NFS": _make_work(nfs.mount("nfs", f"{nfs.server()}:/", "vers=4.2")),
        "SMB": _make_work(smb.mount("cifs", share, options)),
    }
    contenders: dict[str, Run] = {
        NOTHING: nothing,
        AGAIN: nothing,
        NFSZBX: nfszbx(WORK_SECONDS, has_operations=True),
        ONE_COUNTER: one_counter(FUNCTIONS.one_counter(["nfsd", "smbd"])),
        NETHOGS: program(
            "nethogs", "-t", "-a", "-d", "1", nfs.device, smb.device, begun="Refreshing"
        ),
        **{
            each.name: program(*each.command, begun="loadavg")
            for each in find_tcptops(built, seconds=1)
        },
    }
    return measure(contenders, works, ROUNDS)


def _make_work(place: Path) -> Callable[[], Felt]:
    large, small = mmap.mmap(-1, BLOCK_BYTES), mmap.mmap(-1, SMALL_BYTES)  # as O_DIRECT needs them

    def work() -> Felt:
        file = os.open(place / "large", os.O_CREAT | os.O_RDWR | os.O_DIRECT)
        os.truncate(file, BLOCKS * BLOCK_BYTES)
        moved, times, began = 0, [], time.perf_counter()
        try:
            while time.perf_counter() < began + WORK_SECONDS:
                begin = moved // (2 * BLOCK_BYTES) % BLOCKS * BLOCK_BYTES
                os.pwrite(file, large, begin)
                moved += BLOCK_BYTES + os.preadv(file, [large], begin)
                for number in range(READS):
                    asked = time.perf_counter()
                    os.preadv(file, [small], begin + number * SMALL_BYTES)
                    times.append(time.perf_counter() - asked)
            return Felt(moved / (time.perf_counter() - began), times)
        finally:
            os.close(file)

    return work

"""On a real processor: a real smbd on loopback, and a client with Samba's own library."""

import json
import subprocess
from pathlib import Path

from benchmarks.impact.measuring import (
    AGAIN,
    NETHOGS,
    NFSZBX,
    NOTHING,
    ONE_COUNTER,
    Felt,
    Result,
    measure,
    nfszbx,
    nothing,
    one_counter,
    program,
)
from benchmarks.kernel.contenders import TRACEPOINTS
from tests.live.samba import SHARE, SambaServer

ROUNDS = 11
_CLIENT = Path(__file__).with_name("smb_client.py")


def measure_natively() -> Result:
    """Without tcptop and nfsd: for those, this kernel has to have kprobes and a module."""
    with SambaServer() as server:

        def work() -> Felt:
            command = ["/usr/bin/python3", str(_CLIENT), str(server.config)]
            answer = subprocess.run(
                server.command(*command, server.own_address, SHARE),
                check=True,
                stdout=subprocess.PIPE,
                text=True,
                timeout=300,
            )
            return Felt(**json.loads(answer.stdout))

        contenders = {
            NOTHING: nothing,
            AGAIN: nothing,
            NFSZBX: nfszbx(1, has_operations=False),
            ONE_COUNTER: one_counter(TRACEPOINTS.one_counter(["smbd"])),
            # It reads packets of a device, in the server's network namespace.
            NETHOGS: program(
                *server.command("nethogs", "-t", "-a", "-d", "1", "lo"), begun="Refreshing"
            ),
        }
        return measure(contenders, {"SMB": work}, ROUNDS)

"""``make demo``: nfszbx in this terminal, a throw-away Samba server, and clients that move data.

Everything but nfszbx itself lives in a network namespace and a temporary folder and is gone at the
end. Arguments are passed on to ``nfszbx run``.
"""

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from tempfile import TemporaryDirectory
from types import FrameType

from tests.live.running import NFSZBX
from tests.live.samba import CLIENTS, SambaServer

MAX_PAUSE_SECONDS = 2.0
MAX_MEGABYTES = 40


def move_data(server: SambaServer, address: str, name: str, stop: threading.Event) -> None:
    """Write and read files of random sizes, with pauses, until told to stop."""
    luck = random.Random(address)  # noqa: S311  sizes of demonstration files
    payload = server.share_directory.parent / name
    with server.connect(address) as client:
        while not stop.wait(luck.random() * MAX_PAUSE_SECONDS):
            payload.write_bytes(b"nfszbx!\n" * luck.randrange(1, MAX_MEGABYTES << 17))
            for line in (f"put {payload} {name}", f"get {name} /dev/null"):
                client.start(line)
                client.finish()


@contextmanager
def moving_clients(server: SambaServer) -> Iterator[None]:
    """Clients of the server that move data meanwhile."""
    stop = threading.Event()
    threads = [
        threading.Thread(target=move_data, args=(server, address, f"demo-{number}", stop))
        for number, address in enumerate(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def end(number: int, frame: FrameType | None) -> None:
    """Leave through every ``with``, so that the server goes as well."""
    del frame
    sys.exit(128 + number)


def main() -> int:
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    command = [*NFSZBX, "run", "--sink", "console", "--sink", "prometheus"]
    print("A Samba server on loopback, three clients that move data. Control-C ends it all.")
    with SambaServer() as server, moving_clients(server), TemporaryDirectory() as state:
        flags = ["--interval-seconds", "2", *sys.argv[1:]]
        # The server listens in a namespace of its own, where nfszbx does not look for listeners.
        environment = {"NFSZBX_LOG_LEVEL": "warning", "NFSZBX_STATE_DIRECTORY": state}
        with subprocess.Popen([*command, *flags], env={**os.environ, **environment}) as nfszbx:
            try:
                while True:
                    with suppress(KeyboardInterrupt):  # nfszbx has got it, too, and will end
                        return nfszbx.wait()
            finally:
                nfszbx.terminate()


if __name__ == "__main__":
    sys.exit(main())

"""A client that is never idle."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.live.samba import SmbClient


@contextmanager
def moving_data(client: SmbClient, payload: Path) -> Iterator[None]:
    """While this lasts, the client writes and reads all the time."""
    stop = threading.Event()

    def move() -> None:
        while not stop.is_set():
            for line in (f'put "{payload}" {id(client)}', f"get {id(client)} /dev/null"):
                client.start(line)
                client.finish()

    thread = threading.Thread(target=move)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()

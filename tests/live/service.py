"""A running nfszbx under what looks like systemd: a socket that is told how it does."""

import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.live.running import NfszbxRun

WAIT_SECONDS = 60.0


class Service:
    """A running nfszbx, its configuration, and what it tells."""

    def __init__(self, folder: Path, text: str = "", flags: Sequence[str] = ()) -> None:
        """``text`` is more configuration."""
        self.config = folder / "nfszbx.toml"
        self.config.write_text(f"interval_seconds = 1\n{text}")
        self.messages: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(folder / "notify"))
        self._socket.settimeout(WAIT_SECONDS)
        environment = {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "1500000"}
        self.run = NfszbxRun(["--config", str(self.config), *flags], environment, interval=())

    def wait_for(self, is_it: Callable[[str], bool]) -> str:
        while True:
            message = self._socket.recv(4096).decode()
            self.messages.append(message)
            if is_it(message):
                return message

    def reload(self, text: str) -> None:
        """Change the file and let nfszbx read it."""
        self.config.write_text(text)
        self.run.process.send_signal(signal.SIGHUP)

    def close(self) -> None:
        self._socket.close()

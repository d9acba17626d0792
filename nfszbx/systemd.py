"""Tells systemd how the service does, as sd_notify(3) says; nobody listens anywhere else."""

import logging
import socket
from collections.abc import Mapping

_PINGS_PER_WATCHDOG = 3
"""So that one that is late, or lost, kills nothing."""
_MAX_STATUS = 300

_log = logging.getLogger(__name__)


class ServiceManager:
    """Called by the main loop each time it turns; a message that is lost is sent again then."""

    def __init__(self, environment: Mapping[str, str], pid: int) -> None:
        """``pid`` is this process: the watchdog may be meant for another one."""
        self._address = environment.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):  # an abstract name
            self._address = f"\0{self._address[1:]}"
        self._ping_seconds = _read_watchdog_seconds(environment, pid) / _PINGS_PER_WATCHDOG
        self._ping_at = 0.0
        self._is_ready = False
        self._status = ""

    @property
    def is_there(self) -> bool:
        """Has systemd started this process, and does it want to be told?"""
        return bool(self._address)

    def turn(self, now_seconds: float, status: str, *, is_ready: bool) -> None:
        """The main loop has turned: feed the watchdog, and tell what has changed.

        ``now_seconds`` is monotonic. ``status`` is one line for ``systemctl status``. Once told,
        ready stays told.
        """
        status = " ".join(status.split())[:_MAX_STATUS]
        if not self.is_there:
            return
        if is_ready and not self._is_ready:
            self._is_ready = self._send("READY=1")
        if status != self._status and self._send(f"STATUS={status}"):
            self._status = status
        if self._ping_seconds and now_seconds >= self._ping_at and self._send("WATCHDOG=1"):
            self._ping_at = now_seconds + self._ping_seconds

    def begin_reload(self, now_seconds: float) -> None:
        """The settings are read again; the next turn tells the end of it."""
        if self._is_ready:  # before, there is nothing to come back to
            self._is_ready = False
            self._send(f"RELOADING=1\nMONOTONIC_USEC={int(now_seconds * 1_000_000)}")

    def begin_stop(self) -> None:
        """Asked or not, it ends."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> bool:
        if not self.is_there:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(0.0)  # measuring does not wait for a systemd that is busy
                sender.sendto(message.encode(), self._address)
        except OSError as error:
            _log.debug("systemd cannot be told %r: %s", message, error)
            return False
        return True


def _read_watchdog_seconds(environment: Mapping[str, str], pid: int) -> float:
    """How long systemd waits for a sign of life; 0 without a watchdog, or one for others."""
    text = environment.get("WATCHDOG_USEC", "")
    meant_for = environment.get("WATCHDOG_PID", str(pid))
    return int(text) / 1_000_000 if text.isdecimal() and meant_for == str(pid) else 0.0

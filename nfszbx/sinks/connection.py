"""One started process with the sinks, as the process that measures sees it."""

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

from nfszbx.privileges import Account
from nfszbx.sinks.messages import Frame, Kind, Unpacker, pack
from nfszbx.sinks.reports import MAX_REPORT_BYTES

CODE = "import sys; sys.path[:] = sys.argv[2:]; from nfszbx.sinks.process import main; main()"
_KILL_CODE = (
    "import os, sys; user, process = map(int, sys.argv[1:]); "
    "os.setresuid(user, user, user); os.kill(process, 9)"
)
_END_SECONDS = 5.0
_READ_BYTES = 1 << 16
_SEND_BYTES = 1 << 18
_WITHHELD = ("NFSZBX_", "NOTIFY_SOCKET", "WATCHDOG_")
"""Beginnings of variables that it does without: settings, a token among them, and systemd."""


class SinksConnection:
    """The process, its socket, and what is still to be sent. Belongs to one thread.

    The kernel ends the process with the thread that has started it.
    """

    def __init__(self, account: Account | None, wake_descriptor: int) -> None:
        """``wake_descriptor`` is an eventfd that ends a wait. Raises OSError."""
        self._account = account
        self._wake_descriptor = wake_descriptor
        self._unpacker = Unpacker(MAX_REPORT_BYTES)
        self._unsent = bytearray()
        self.has_ended = False
        """Nothing more comes from it."""
        self._socket, theirs = socket.socketpair()
        with theirs:
            # Not a fork: this process has threads. In a session of its own no terminal ends it, and
            # it can type into none (TIOCSTI).
            self._process = subprocess.Popen(  # noqa: S603  ourselves
                [
                    sys.executable,
                    *(["-I"] if sys.flags.isolated else []),
                    "-c",
                    CODE,
                    str(theirs.fileno()),
                    *sys.path,
                ],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                env={k: v for k, v in os.environ.items() if not k.startswith(_WITHHELD)},
            )
        self._socket.settimeout(0.0)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def is_all_sent(self) -> bool:
        """Nothing waits for room in the socket."""
        return not self._unsent

    def send(self, kind: Kind, body: bytes = b"") -> None:
        """As soon as there is room; never waits."""
        self._unsent += pack(kind, body)

    def exchange(self, wait_seconds: float) -> Iterator[Frame]:
        """Send what there is room for; what has come, waiting for so long when nothing has.

        Raises :class:`MessageError` for what is no message.
        """
        yield from self._unpacker.feed(b"")  # what was not asked for the last time
        poll = select.poll()
        poll.register(self._socket, select.POLLIN | (select.POLLOUT if self._unsent else 0))
        poll.register(self._wake_descriptor, select.POLLIN)
        ready = dict(poll.poll(wait_seconds * 1000))
        if self._wake_descriptor in ready:
            os.eventfd_read(self._wake_descriptor)
        events = ready.get(self._socket.fileno(), 0)
        try:
            if events & select.POLLOUT:
                sent = self._socket.send(self._unsent[:_SEND_BYTES])
                del self._unsent[:sent]
            if events & ~select.POLLOUT:
                data = self._socket.recv(_READ_BYTES)
                self.has_ended = not data
                yield from self._unpacker.feed(data)
        except BlockingIOError:
            pass
        except ConnectionError:
            self.has_ended = True

    def close(self, wait_seconds: float = 0.0) -> str:
        """Give it so long to end, then kill it: how it ended, for people."""
        self._socket.close()
        try:
            status = self._process.wait(wait_seconds)
        except subprocess.TimeoutExpired:
            try:
                self._kill()
                status = self._process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                return "it cannot be killed"
        return f"killed by {signal.Signals(-status).name}" if status < 0 else f"status {status}"

    def _kill(self) -> None:
        try:
            self._process.kill()
        except PermissionError:  # root without CAP_KILL: then as the same user
            uid = self._account.uid if self._account else os.getuid()
            subprocess.run(  # noqa: S603  ourselves
                [sys.executable, "-I", "-S", "-c", _KILL_CODE, str(uid), str(self.pid)],
                check=False,
                timeout=_END_SECONDS,
            )

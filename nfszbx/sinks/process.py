"""The process with the sinks: root until it has its keys and its port, then another user for good.

What it is told comes over a socket from the process that measures; when that ends in whatever way,
so does this one. It is told to stop there alone: Control-C and systemd reach both.
"""

import encodings.idna  # noqa: F401  see main()
import json
import logging
import os
import select
import signal
import socket
import sys
from dataclasses import asdict
from pathlib import Path

from nfszbx.clock import monotonic_seconds
from nfszbx.errors import NfszbxError
from nfszbx.log import change_level, start_logging
from nfszbx.privileges import give_up_privileges, name_process
from nfszbx.sinks.base import Again
from nfszbx.sinks.messages import Begin, Frame, Kind, Unpacker, decode_samples, pack
from nfszbx.sinks.opened import OpenSinks, prepare_sinks
from nfszbx.streams import give_up_reading_terminals, open_standard_streams

TURN_SECONDS = 0.1
SIGN_OF_LIFE_SECONDS = 1.0
_READ_BYTES = 1 << 18
_log = logging.getLogger(__name__)


class Line:
    """The socket to the process that measures."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._unpacker = Unpacker()
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)

    def receive(self, wait_seconds: float) -> list[Frame]:
        """What has come. Raises :class:`EOFError` when the other side has ended."""
        if not self._poll.poll(wait_seconds * 1000):
            return []
        data = self._connection.recv(_READ_BYTES)
        if not data:
            raise EOFError
        return list(self._unpacker.feed(data))

    def send(self, kind: Kind, body: str = "") -> None:
        """Waits until there is room: the other side reads all the time."""
        self._connection.sendall(pack(kind, body.encode()))


class Serving:
    """The open sinks get what comes, and how they do is told."""

    def __init__(self, line: Line, sinks: OpenSinks) -> None:
        self._line = line
        self._sinks = sinks
        self._told = ""
        self._told_at = 0.0
        self._is_stopping = False

    def serve(self) -> None:
        """Until it is told to stop. Raises :class:`EOFError` when nobody is there any more."""
        while not self._is_stopping:
            for frame in self._line.receive(TURN_SECONDS):
                self._take(frame)
            self._tell()
        self._sinks.stop()
        self._tell()

    def _take(self, frame: Frame) -> None:
        match frame.kind:
            case Kind.INTERVAL:
                self._sinks.put(decode_samples(frame.body))
            case Kind.LOG:
                sys.stderr.write(frame.body.decode())
            case Kind.LEVEL:
                change_level(frame.body.decode())
            case Kind.STOP:
                self._is_stopping = True

    def _tell(self) -> None:
        report = json.dumps(
            {
                "sinks": [asdict(health) for health in self._sinks.healths()],
                "handed_on": self._sinks.handed_on,
                "done": self._sinks.done,
                "on_disk": self._sinks.are_on_disk,
                "gone": self._sinks.are_gone,
            }
        )
        now = monotonic_seconds()
        if report != self._told or now >= self._told_at + SIGN_OF_LIFE_SECONDS:
            self._line.send(Kind.REPORT, report)
            self._told, self._told_at = report, now


def begin(line: Line) -> OpenSinks:
    """As it is told. Raises :class:`NfszbxError`, and :class:`EOFError` when nobody is there."""
    while not (frames := line.receive(1.0)):
        pass
    told = Begin.decode(frames[0].body)
    config = told.read_config()
    start_logging(config.log_level)
    prepared = prepare_sinks(config)
    if told.user is not None:
        give_up_privileges(told.user)
    folder = Path(told.folder)
    if "zabbix" in config.sinks and not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        _log.warning(
            "state_directory: %s is out of reach for the user %s; each folder above it needs its "
            "x: chmod a+x FOLDER",
            folder,
            told.user.name if told.user else os.getuid(),
        )
    return OpenSinks(
        prepared, folder, lambda name: Again(told.handed_on.get(name, 0), told.done, told.waiting)
    )


def main() -> None:
    """``python -c "..." DESCRIPTOR``.

    The user that it becomes may not be able to read the place where the program lies, so nothing is
    imported later: what Python itself would import for the first host name is imported above.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    open_standard_streams()
    give_up_reading_terminals()
    name_process("nfszbx-sinks")
    line = Line(socket.socket(fileno=int(sys.argv[1])))
    os.set_inheritable(int(sys.argv[1]), False)  # noqa: FBT003  the standard library's own
    try:
        sinks = begin(line)
    except NfszbxError as error:
        refusal = {"exit_code": error.exit_code, "message": str(error), "hint": error.hint}
        line.send(Kind.ERROR, json.dumps(refusal))
        return
    except EOFError:
        return
    line.send(Kind.READY)
    try:
        Serving(line, sinks).serve()
    except (EOFError, ConnectionError):
        os._exit(1)  # its port and its connections are free at once

"""Asks smbstatus once a minute who is connected to smbd, and makes samples of it."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from nfszbx import catalog_smb
from nfszbx.clock import monotonic_seconds
from nfszbx.config import SmbConfig
from nfszbx.metric import Metric
from nfszbx.samples import Sample
from nfszbx.smb.command import TIMEOUT_SECONDS, Command, find_program
from nfszbx.smb.status import Session, count_tree_connects, count_users, parse_sessions
from nfszbx.traffic import OTHER

INTERVAL_SECONDS = 60.0
MAX_ROWS = 1000
"""Of each metric; the rest is summed up in one more."""
_GRACE_SECONDS = 5.0
"""A process that was killed is gone by then, unless the kernel holds it."""

_log = logging.getLogger(__name__)

_Counts = Mapping[tuple[str, str], int]
"""By client, and user or share."""


class SmbSessions:
    """Belongs to the main loop, which it never holds up: smbstatus runs beside it.

    Two runs a minute, some 50 ms of a processor each. Names of users are looked up only where they
    are wanted: that may ask a directory in the network.
    """

    def __init__(self, config: SmbConfig) -> None:
        self._config = config
        self._next_at = self._late_at = monotonic_seconds()
        self._command: Command | None = None
        self._sessions: dict[str, Session] | None = None
        """Of the first of the two runs, once that is over."""
        self._problem = ""
        self._is_told = False
        """Something was said, and nothing has taken it back."""

    def poll(self) -> tuple[Sample, ...] | None:
        """All there is to say, when there is something new; None while there is not.

        Nothing ever where no smbstatus is installed, or nothing of it is wanted, and an empty
        tuple once where it is installed no more. When it fails, ``nfszbx_smb_up`` is 0 and the rows
        are missing: nobody knows them.
        """
        now = monotonic_seconds()
        try:
            if self._command is None:
                return self._begin(now)
            if self._command.has_ended:
                command, self._command = self._command, None
                return self._take(command.take_output(), now)
            if now > self._late_at:
                self._late_at = float("inf")
                return self._fail("it does not end")
        except (OSError, ValueError) as error:
            return self._fail(str(error))
        return None

    def close(self) -> None:
        """End what runs."""
        if self._command is not None:
            self._command.close()
            self._command = None

    def _begin(self, now: float) -> tuple[Sample, ...] | None:
        if now < self._next_at or not (self._config.sessions or self._config.shares):
            return None
        self._next_at = now + INTERVAL_SECONDS
        self._sessions = None
        program = find_program("smbstatus")
        if program is None:
            return self._forget()
        names = [] if self._config.sessions else ["--numeric"]
        self._start(now, program, "--processes", *names)
        return None

    def _forget(self) -> tuple[Sample, ...] | None:
        """Samba has been removed: there is nothing to say any more, and that is said once."""
        self._is_told, was_told = False, self._is_told
        return () if was_told else None

    def _start(self, now: float, program: Path, *options: str) -> None:
        self._program = program
        self._late_at = now + TIMEOUT_SECONDS + _GRACE_SECONDS
        self._command = Command([str(program), "--json", *options])

    def _take(self, output: bytes, now: float) -> tuple[Sample, ...] | None:
        """What the first of the two runs has printed, or the second."""
        tree_connects: _Counts = {}
        if self._sessions is None:
            self._sessions = parse_sessions(output)
            if self._config.shares:
                self._start(now, self._program, "--shares")
                return None
        else:
            tree_connects = count_tree_connects(output, self._sessions)
        users = count_users(self._sessions.values()) if self._config.sessions else {}
        if self._problem:
            _log.info("smbstatus works again")
            self._problem = ""
        self._is_told = True
        return (
            Sample(catalog_smb.SESSIONS_UP, (), 1),
            *_make_rows(catalog_smb.SESSIONS, users),
            *_make_rows(catalog_smb.TREE_CONNECTS, tree_connects),
        )

    def _fail(self, problem: str) -> tuple[Sample, ...]:
        if problem != self._problem:
            self._problem = problem
            _log.warning(
                "who is connected to smbd is not known: smbstatus: %s (it has to be of Samba 4.17 "
                "or later; smb.shares and smb.sessions switch it off)",
                problem,
            )
        self._is_told = True
        return (Sample(catalog_smb.SESSIONS_UP, (), 0),)


def _make_rows(metric: Metric, counts: _Counts) -> Iterator[Sample]:
    """The largest, and among equals the first by name, so that they stay the same."""
    ranked = sorted(counts.items(), key=lambda row: (-row[1], row[0]))
    rows = Counter(dict(ranked[:MAX_ROWS]))
    rest = sum(count for _, count in ranked[MAX_ROWS:])
    if rest:
        rows[OTHER, OTHER] += rest
    for labels, count in rows.items():
        yield Sample(metric, labels, count)

"""What a child says on standard error, for the log."""

import logging

MAX_NOTICES = 100
"""Different lines that are logged; bpftrace repeats itself at each start."""


class Notices:
    """Logs each line once."""

    def __init__(self, log: logging.Logger, speaker: str) -> None:
        """``speaker`` stands before each line."""
        self._log, self._speaker = log, speaker
        self._known: set[str] = set()

    def take(self, text: str) -> None:
        """Log the line, unless it is known."""
        if text not in self._known and len(self._known) < MAX_NOTICES:
            self._known.add(text)
            self._log.log(_judge(text), "%s: %s", self._speaker, text)


def _judge(text: str) -> int:
    """The level of a line: only what bpftrace calls an error is one.

    Its warnings are about style, and differ by version. It may also be unable to raise
    RLIMIT_MEMLOCK: harmless since Linux kernel commit d5299b67dd59 ("bpf: Memcg-based memory
    accounting for bpf progs") (in v5.11).
    """
    is_error = "ERROR" in text and "RLIMIT_MEMLOCK" not in text
    return logging.WARNING if is_error else logging.DEBUG

"""Log records on standard error, one line each; with systemd's level prefix under the journal."""

import logging
import os
import sys
from collections.abc import Callable

_SYSTEMD_LEVELS = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}


class _StandardErrorHandler(logging.StreamHandler):  # type: ignore[type-arg]  # generic only in stubs
    """Writes to whatever ``sys.stderr`` is now: the live table replaces it while it is shown."""

    show: Callable[[str], bool] | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if self.show and self.show(f"{self.format(record)}\n"):
            return
        self.stream = sys.stderr
        super().emit(record)


class _JournalFormatter(logging.Formatter):
    """``<4>message``: what sd-daemon(3) reads as a level."""

    def format(self, record: logging.LogRecord) -> str:
        return f"<{_SYSTEMD_LEVELS.get(record.levelno, 5)}>{super().format(record)}"


def start_logging(level: str, show: Callable[[str], bool] | None = None) -> None:
    """Send records of ``level`` (``debug`` to ``error``) and above to standard error.

    Or let ``show`` take each line, for as long as it answers that it has done so.
    """
    handler = _StandardErrorHandler(sys.stderr)
    handler.show = show
    if "JOURNAL_STREAM" in os.environ and not sys.stderr.isatty():
        handler.setFormatter(_JournalFormatter("%(message)s"))
    else:
        handler.setFormatter(logging.Formatter("nfszbx: %(levelname)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def change_level(level: str) -> None:
    """From now on records of ``level`` and above."""
    logging.getLogger().setLevel(level.upper())

"""Files with secrets, which others should not be able to read."""

import logging
from pathlib import Path

_log = logging.getLogger(__name__)
_READ_BY_OTHERS = 0o004


def warn_of_readers(key: str, path: Path) -> None:
    """Log a warning when every user may read the file; ``key`` is the setting that names it."""
    if path.stat().st_mode & _READ_BY_OTHERS:
        _log.warning("%s: every user can read %s; mend with: chmod 600 %s", key, path, path)

"""Files with secrets, which others should not be able to read."""

import logging
import shlex
from pathlib import Path

_log = logging.getLogger(__name__)
_READ_BY_OTHERS = 0o004


def warn_of_readers(key: str, path: Path) -> None:
    """Log a warning when the file's mode lets every user read it. Raises OSError.

    ``key`` is the setting that names it.
    """
    if path.stat().st_mode & _READ_BY_OTHERS:
        mend = f"chmod o= {shlex.quote(str(path))}"
        _log.warning("%s: the mode of %s lets every user read it; mend with: %s", key, path, mend)

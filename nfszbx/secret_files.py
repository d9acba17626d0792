"""Files with secrets, which others should not be able to read."""

import errno
import logging
import os
import shlex
from pathlib import Path

_log = logging.getLogger(__name__)
_READ_BY_OTHERS = 0o004


def explain_unreadable(error: OSError, otherwise: str) -> str:
    """The hint for a file that cannot be read."""
    if error.errno == errno.EACCES and os.geteuid() == 0:
        return (
            "root has no CAP_DAC_READ_SEARCH here, and so reads no files of other users: give the "
            "file to root: chown root FILE"
        )
    return otherwise


def warn_of_readers(key: str, path: Path) -> None:
    """Log a warning when the file's mode lets every user read it. Raises OSError.

    ``key`` is the setting that names it.
    """
    if path.stat().st_mode & _READ_BY_OTHERS:
        mend = f"chmod o= {shlex.quote(str(path))}"
        _log.warning("%s: the mode of %s lets every user read it; mend with: %s", key, path, mend)

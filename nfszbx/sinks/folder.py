"""The folder ``sinks`` in the state directory: the only place where the sinks' user keeps files.

Root goes into it only while it belongs to root: nobody else can put a link there then.
"""

import logging
import os
import stat
from pathlib import Path

from nfszbx.privileges import Account

NAME = "sinks"
_EARLIER = ("spool.sqlite3", "clients.json", "zabbix_clients.sqlite3")
"""What earlier versions kept in the state directory itself."""
_COUNTERS = "counters.sqlite3"
"""What is there still; earlier versions let others read it, who could not get there."""
_OTHERS_MAY_PASS = 0o011

_log = logging.getLogger(__name__)


def prepare_folder(directory: Path, account: Account) -> None:
    """Make it, or give it to the account; what an earlier version has kept goes on to be used.

    Nobody else may read it. A folder that cannot be made, as on a full disk, is no error: the sinks
    tell of it, and do without.
    """
    try:
        state = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        _let_pass(state)
        _prepare(state, account)
    except OSError as error:
        _log.warning("%s cannot be given to %s: %s", directory / NAME, account.name, error.strerror)
    finally:
        os.close(state)


def _let_pass(state: int) -> None:
    """The account reaches its folder by name; what else is in the directory stays root's alone."""
    mode = stat.S_IMODE(os.fstat(state).st_mode)
    if mode | _OTHERS_MAY_PASS != mode:
        for name in _list(state):
            if name.startswith((_COUNTERS, *_EARLIER)):
                os.chmod(name, 0o600, dir_fd=state)
        os.fchmod(state, mode | _OTHERS_MAY_PASS)


def _prepare(state: int, account: Account) -> None:
    """Raises OSError."""
    try:
        os.mkdir(NAME, 0o700, dir_fd=state)
    except FileExistsError:
        if os.stat(NAME, dir_fd=state, follow_symlinks=False).st_uid == account.uid:
            for name in _find_earlier(state):
                _log.warning("%s of an earlier version is not used: there is a later one", name)
            return
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    folder = os.open(NAME, flags, dir_fd=state)
    try:
        before = os.fstat(folder).st_uid
        os.fchown(folder, 0, 0)
        os.fchmod(folder, 0o700)
        for name in _find_earlier(state):
            os.rename(name, name, src_dir_fd=state, dst_dir_fd=folder)
        for name in _list(folder):
            _give(folder, name, account, {0, before})
        os.fchown(folder, account.uid, account.gid)
    finally:
        os.close(folder)


def _list(folder: int) -> list[str]:
    return os.listdir(folder)  # by its descriptor: a path can be changed


def _find_earlier(state: int) -> list[str]:
    return [name for name in _list(state) if name.startswith(_EARLIER)]


def _give(folder: int, name: str, account: Account, owners: set[int]) -> None:
    """A plain file of those owners, and under no other name; the rest stays as it is."""
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and found.st_uid in owners:
        os.chown(name, account.uid, account.gid, dir_fd=folder, follow_symlinks=False)
        os.chmod(name, 0o600, dir_fd=folder)

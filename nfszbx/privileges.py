"""Gives root's rights up for good, as OpenSSH's processes that talk to the network do.

The sets of capabilities, no_new_privs and the parent-death signal belong to one thread: all of this
comes before the process has a second one.
"""

import ctypes
import os
import pwd
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nfszbx.errors import PrivilegeError

USERS = ("nfszbx", "nobody")
"""The first of them that this machine has."""

# include/uapi/linux/prctl.h and capability.h
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NAME = 1, 4, 15
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 24, 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_CAPABILITY_VERSION_3 = 0x20080522
_LAST_CAPABILITY = Path("/proc/sys/kernel/cap_last_cap")
_LIBC = ctypes.CDLL(None, use_errno=True)
_SETS = ("CapInh", "CapPrm", "CapEff", "CapAmb")


@dataclass(frozen=True)
class Account:
    """A user without rights of its own."""

    name: str
    uid: int
    gid: int


def find_account() -> Account | None:
    """Who talks to the network; None when this process is not root and has nothing to give up.

    Raises :class:`PrivilegeError` when there is nobody.
    """
    if os.geteuid() != 0:
        return None
    for name in USERS:
        with suppress(KeyError):
            found = pwd.getpwnam(name)
            if found.pw_uid and found.pw_gid:
                return Account(name, found.pw_uid, found.pw_gid)
    raise PrivilegeError(
        f"there is no user {' or '.join(USERS)} to talk to the network in root's place",
        "useradd --system --shell /usr/sbin/nologin nfszbx",
    )


def give_up_privileges(account: Account) -> None:
    """From now on this process is that user, without any capability, and nothing brings them back.

    It ends with its parent. Raises :class:`PrivilegeError` when any of it does not come about.
    """
    try:
        os.setgroups([])
        for capability in range(int(_LAST_CAPABILITY.read_text(encoding="ascii")) + 1):
            # Without CAP_SETPCAP it stays: nothing of it can be had after no_new_privs.
            with suppress(PermissionError):
                _prctl(_PR_CAPBSET_DROP, capability)
        os.setresgid(account.gid, account.gid, account.gid)
        os.setresuid(account.uid, account.uid, account.uid)
        _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
        _clear_capabilities()
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        _prctl(_PR_SET_DUMPABLE, 0)  # others of the same user read no keys in its memory
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # another user would have cleared it
        remaining = _find_remaining(account)
    except (OSError, ValueError) as error:
        remaining = [str(error)]
    if remaining:
        raise PrivilegeError(
            f"root's rights cannot be given up for those of {account.name}: {'; '.join(remaining)}",
            "nfszbx run needs CAP_SETUID and CAP_SETGID beside those of bpftrace",
        )


def name_process(name: str) -> None:
    """What ps shows as the command, up to 15 characters."""
    _LIBC.prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()), 0, 0, 0)


def _find_remaining(account: Account) -> list[str]:
    """What should be gone and is not."""
    found = []
    if os.getresuid() != (account.uid,) * 3 or os.getresgid() != (account.gid,) * 3:
        found.append(f"users {os.getresuid()}, groups {os.getresgid()}")
    if os.getgroups():
        found.append(f"supplementary groups {os.getgroups()}")
    for change, what in ((os.setuid, "user"), (os.setgid, "group")):
        with suppress(PermissionError):
            change(0)
            found.append(f"the way back to the {what} 0 is open")
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    found += [f"{name} {fields[name]}" for name in _SETS if int(fields.get(name, "0"), 16)]
    if fields.get("NoNewPrivs", "1") != "1":
        found.append("no_new_privs is not set")
    return found


def _prctl(option: int, argument: int) -> None:
    if _LIBC.prctl(option, argument, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl {option}: {os.strerror(code)}")


def _clear_capabilities() -> None:
    """The inheritable ones, too, which stay when the user changes."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    if _LIBC.capset(header, (ctypes.c_uint32 * 6)()) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"capset: {os.strerror(code)}")

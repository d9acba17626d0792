"""Root's rights are given up as a whole, or the process says what is left of them."""

import os
import pwd
import subprocess
import sys

import pytest

from nfszbx.errors import PrivilegeError
from nfszbx.privileges import Account, find_account

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give up")
CODE = """\
import os
from nfszbx.errors import PrivilegeError
from nfszbx.privileges import Account, give_up_privileges
try:
    os.setgroups([1, 2])
except PermissionError:
    pass
{before}
try:
    give_up_privileges(Account("somebody", 54321, 54322))
except PrivilegeError as error:
    print(error)
else:
    print(os.getresuid(), os.getresgid(), os.getgroups())
"""
GIVEN_UP = "(54321, 54321, 54321) (54322, 54322, 54322) []"


def give_up(before: str = "", *wrapper: str) -> str:
    result = subprocess.run(
        [*wrapper, sys.executable, "-c", CODE.format(before=before)],
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout.strip()


def test_given_up() -> None:
    assert give_up() == GIVEN_UP


def test_without_setpcap() -> None:
    """The bounding set stays then."""
    bounding = "--bounding-set=-all,+setuid,+setgid"
    assert give_up("", "setpriv", bounding, "--inh-caps=-all") == GIVEN_UP


@pytest.mark.parametrize("missing", ["setuid", "setgid"])
def test_what_cannot_be_given_up_is_an_error(missing: str) -> None:
    said = give_up("", "setpriv", f"--bounding-set=-{missing}", "--inh-caps=-all")
    assert said.startswith("root's rights cannot be given up for those of somebody: ")
    assert "Operation not permitted" in said


@pytest.mark.parametrize(
    ("before", "left"),
    [
        ("os.setresuid = lambda *_: None", "users (0, 0, 0)"),
        ("os.setresuid = lambda r, e, s: os.setreuid(0, e)", "users (0, 54321, 54321)"),
        ("os.setresgid = lambda *_: None", "groups (0, 0, 0)"),
        ("os.setgroups = lambda _: None", "supplementary groups [1, 2]"),
        ("import nfszbx.privileges as p; p._PR_SET_NO_NEW_PRIVS = 3", "no_new_privs is not set"),
    ],
)
def test_what_is_left_is_found(before: str, left: str) -> None:
    """A system call that does less than it should is not believed."""
    assert left in give_up(before)


def test_users_without_rights_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str) -> pwd.struct_passwd:
        uid, gid = users[name]
        return pwd.struct_passwd((name, "x", uid, gid, "", "/", "/bin/false"))

    monkeypatch.setattr(pwd, "getpwnam", find)
    users = {"nfszbx": (990, 991), "nobody": (65534, 65534)}
    assert find_account() == Account("nfszbx", 990, 991)
    users["nfszbx"] = (0, 0)
    assert find_account() == Account("nobody", 65534, 65534)
    users.clear()
    with pytest.raises(PrivilegeError, match="no user nfszbx or nobody"):
        find_account()

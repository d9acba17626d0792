import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nfszbx.operations.export_lines import (
    Mount,
    Mounts,
    encode_path,
    name_path,
    parse_exports,
    parse_mounts,
)

RECORDED = Path(__file__).parents[2] / "fixtures/exports-6.12"
CONTENT = rb"""#path domain(flags)
/	*(ro,insecure,no_root_squash,sync,no_wdelay,v4root,fsid=0)
/srv/a\040b\011\134x	127.0.0.1(rw,sync)
/srv/a\040b\011\134x	::1(rw,sync)
# /srv/expired	10.0.0.0/8()
# expiry=1795300000 refcnt=2 flags=1
/srv/gone\040(deleted)	*(rw)
not a path
"""
MOUNTINFO = rb"""21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
22 21 0:20 / /proc rw - proc proc rw
30 21 0:30 / /srv/data rw shared:2 - tmpfs none rw
31 21 0:30 /sub /srv/with\040blank rw - tmpfs none rw
torn line
"""


def test_exports_once_each_with_those_that_have_expired() -> None:
    assert parse_exports(CONTENT) == (
        "/",
        "/srv/a b\t\\x",
        "/srv/expired",
        "/srv/gone (deleted)",
    )


def test_mounts_by_number() -> None:
    assert parse_mounts(MOUNTINFO) == {
        21: Mount(1, "/"),
        22: Mount(21, "/proc"),
        30: Mount(21, "/srv/data"),
        31: Mount(21, "/srv/with blank"),
    }


def test_path_is_found_where_a_mount_begins() -> None:
    mounts = parse_mounts(MOUNTINFO)
    assert Mounts(mounts).find("/") == 21
    assert Mounts(mounts).find("/srv/with blank") == 31
    assert Mounts(mounts).find("/srv/data/sub") is None
    assert Mounts(mounts).find("/srv") is None
    assert Mounts(mounts).find("/srv/dat") is None


def test_mount_below_another_one_is_not_taken_for_it() -> None:
    over = {21: Mount(1, "/"), 30: Mount(21, "/srv/a"), 31: Mount(30, "/srv/a")}
    assert Mounts(over).find("/srv/a") == 31
    hidden = {21: Mount(1, "/"), 30: Mount(21, "/srv/a"), 31: Mount(21, "/srv")}
    assert Mounts(hidden).find("/srv/a") is None
    new_root = {21: Mount(1, "/"), 22: Mount(21, "/"), 30: Mount(22, "/srv")}
    assert Mounts(new_root).find("/") == 22
    assert Mounts(new_root).find("/srv") == 30


def test_nothing_is_guessed() -> None:
    """Two mounts where there can be one, and lists without a beginning."""
    assert Mounts({21: Mount(1, "/"), 22: Mount(1, "/")}).find("/") is None
    twins = {21: Mount(1, "/"), 30: Mount(21, "/srv"), 31: Mount(21, "/srv")}
    assert Mounts(twins).find("/srv") is None
    assert Mounts({30: Mount(31, "/srv"), 31: Mount(30, "/srv")}).find("/srv") is None
    assert Mounts({}).find("/") is None


@given(st.binary())
@settings(deadline=None)
@example(b"/\\777\t*()\n")
def test_any_bytes_are_read_and_named(data: bytes) -> None:
    parse_mounts(data)
    for path in parse_exports(data):
        assert name_path(path).isprintable()
        assert path.startswith("/")


@given(st.binary().map(lambda name: name.replace(b"\0", b"\n")))
@settings(deadline=None)
def test_names_come_back_as_the_kernel_has_them(name: bytes) -> None:
    path = b"/" + name
    escaped = re.sub(rb"[ \t\n\\]", lambda found: b"\\%03o" % found[0][0], path)
    (read,) = parse_exports(escaped + b"\t*(rw)\n")
    assert encode_path(read) == path


@given(st.text(), st.text())
@settings(deadline=None)
def test_no_two_paths_have_one_name(one: str, other: str) -> None:
    if one.encode("utf-8", "replace") != other.encode("utf-8", "replace"):
        first, second = (
            f"/{text}".encode("utf-8", "replace").decode("utf-8") for text in (one, other)
        )
        assert name_path(first) != name_path(second)


def test_name_is_the_path_where_that_can_be_printed() -> None:
    assert name_path("/srv/Ünter lagen") == "/srv/Ünter lagen"
    assert name_path("/a\nb\\c\udcff") == r"/a\012b\134c\377"


def test_table_of_a_real_server() -> None:
    """Also the directories on the way to exports (v4root), and a mount below one (crossmnt)."""
    assert sorted(parse_exports((RECORDED / "content").read_bytes())) == [
        "/",
        "/exports",
        "/exports/a",
        "/exports/a/data",
        "/exports/cross",
        "/exports/cross/child",
        "/exports/with blank",
    ]


@pytest.mark.parametrize(
    "seen",
    json.loads((RECORDED / "keys.json").read_text()),
    ids=lambda seen: f"NFS {seen['version']} {seen['path']}",
)
def test_kernel_has_the_number_of_mountinfo_for_mount_points(seen: dict[str, Any]) -> None:
    """What the kernel's own structures said while a client used the export."""
    mounts = Mounts(parse_mounts((RECORDED / "mountinfo").read_bytes()))
    ((unique, number, inode),) = seen["keys"]
    assert unique > 1 << 31
    assert mounts.find(seen["path"]) == (None if inode else number)

"""Numbers of the protocol and their names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfszbx.operations.names import (
    PROCEDURES,
    V4_OPERATIONS,
    expand_shape,
    find_principal,
    name_procedure,
    name_status,
    name_v4_operation,
    name_version,
)


def make_shape(*numbers: int) -> int:
    return int.from_bytes(bytes(numbers), "big")


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (3, "ACCESS"),
        (9, "GETATTR"),
        (18, "OPEN"),
        (22, "PUTFH"),
        (25, "READ"),
        (38, "WRITE"),
        (39, "RELEASE_LOCKOWNER"),
        (40, "BACKCHANNEL_CTL"),
        (42, "EXCHANGE_ID"),
        (53, "SEQUENCE"),
        (58, "RECLAIM_COMPLETE"),
        (60, "COPY"),
        (68, "READ_PLUS"),
        (71, "CLONE"),
        (72, "GETXATTR"),
        (75, "REMOVEXATTR"),
        (76, "76"),
        (2, "2"),
        (188, "ILLEGAL"),
    ],
)
def test_operations_of_version_4(number: int, name: str) -> None:
    assert name_v4_operation(number) == name


def test_there_are_as_many_as_in_the_protocols() -> None:
    assert {version: len(names) for version, names in PROCEDURES.items()} == {2: 18, 3: 22, 4: 2}
    assert len(V4_OPERATIONS) == 75 - 3 + 1
    assert len(set(V4_OPERATIONS)) == len(V4_OPERATIONS)


@pytest.mark.parametrize(
    ("version", "number", "is_acl", "name"),
    [
        (2, 6, False, "READ"),
        (2, 8, False, "WRITE"),
        (2, 17, False, "STATFS"),
        (3, 0, False, "NULL"),
        (3, 6, False, "READ"),
        (3, 7, False, "WRITE"),
        (3, 17, False, "READDIRPLUS"),
        (3, 21, False, "COMMIT"),
        (3, 22, False, "22"),
        (4, 1, False, "COMPOUND"),
        (3, 1, True, "NFSACL_GETACL"),
        (2, 4, True, "NFSACL_ACCESS"),
        (3, 3, True, "3"),
    ],
)
def test_procedures(version: int, number: int, is_acl: bool, name: str) -> None:  # noqa: FBT001
    assert name_procedure(version, number, is_acl=is_acl) == name


@pytest.mark.parametrize(
    ("version", "status", "name"),
    [
        (3, 2, "NOENT"),
        (2, 99, "WFLUSH"),
        (3, 13, "ACCES"),
        (4, 13, "ACCESS"),
        (3, 10008, "JUKEBOX"),
        (4, 10008, "DELAY"),
        (4, 70, "STALE"),
        (4, 10087, "DELEG_REVOKED"),
        (4, 10096, "XATTR2BIG"),
        (4, 10073, "10073"),
        (3, 10052, "10052"),
    ],
)
def test_statuses(version: int, status: int, name: str) -> None:
    assert name_status(version, status) == name


def test_versions() -> None:
    assert [name_version(*pair) for pair in ((2, 0), (3, 0), (4, 0), (4, 2))] == [
        "2",
        "3",
        "4.0",
        "4.2",
    ]


def test_shape_is_expanded_in_order() -> None:
    assert expand_shape(make_shape(53, 22, 25, 9)) == ("SEQUENCE", "PUTFH", "READ", "GETATTR")
    assert expand_shape(0) == ()


def test_shape_with_a_hole_is_none() -> None:
    with pytest.raises(ValueError, match="0x190003"):
        expand_shape(0x190003)


@pytest.mark.parametrize(
    ("operations", "principal"),
    [
        ("SEQUENCE PUTFH READ GETATTR", "READ"),
        ("SEQUENCE PUTFH SAVEFH PUTFH LINK RESTOREFH GETATTR", "LINK"),
        ("SEQUENCE PUTFH LOOKUP GETFH GETATTR", "LOOKUP"),
        ("SEQUENCE PUTFH ACCESS GETATTR", "GETATTR"),
        ("SEQUENCE PUTFH GETATTR ACCESS", "ACCESS"),
        ("SEQUENCE", "SEQUENCE"),
        ("PUTROOTFH GETFH", "GETFH"),
        ("EXCHANGE_ID", "EXCHANGE_ID"),
    ],
)
def test_principal_operation(operations: str, principal: str) -> None:
    assert find_principal(tuple(operations.split())) == principal


@given(st.lists(st.integers(1, 255), max_size=8))
def test_number_of_operations_is_known_from_the_shape(numbers: list[int]) -> None:
    expected = tuple(name_v4_operation(number) for number in numbers)
    assert expand_shape(make_shape(*numbers)) == expected

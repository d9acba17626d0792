"""What NFS calls its versions, operations and statuses.

Numbers and names are those of RFC 1094 (version 2), RFC 1813 (3), RFC 7530 and 8881 (4.0, 4.1),
RFC 7862 (4.2) and RFC 8276 (extended attributes). NFSACL, a side protocol of versions 2 and 3, has
no RFC; its numbers are those of Linux and Solaris. A number without a name is shown as it is.
"""

from collections.abc import Mapping
from functools import lru_cache


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


V2_PROCEDURES = _words(
    "NULL GETATTR SETATTR ROOT LOOKUP READLINK READ WRITECACHE WRITE CREATE REMOVE RENAME LINK "
    "SYMLINK MKDIR RMDIR READDIR STATFS"
)
V3_PROCEDURES = _words(
    "NULL GETATTR SETATTR LOOKUP ACCESS READLINK READ WRITE CREATE MKDIR SYMLINK MKNOD REMOVE "
    "RMDIR RENAME LINK READDIR READDIRPLUS FSSTAT FSINFO PATHCONF COMMIT"
)
V4_PROCEDURES = _words("NULL COMPOUND")
ACL_PROCEDURES: Mapping[int, tuple[str, ...]] = {
    2: ("NFSACL_NULL", "NFSACL_GETACL", "NFSACL_SETACL", "NFSACL_GETATTR", "NFSACL_ACCESS"),
    3: ("NFSACL_NULL", "NFSACL_GETACL", "NFSACL_SETACL"),
}
PROCEDURES: Mapping[int, tuple[str, ...]] = {2: V2_PROCEDURES, 3: V3_PROCEDURES, 4: V4_PROCEDURES}
"""By version, in the order of their numbers, from 0."""

COMPOUND_VERSION = 4
"""The one whose requests hold several operations, and that has minor versions."""
FIRST_V4_OPERATION = 3
V4_OPERATIONS = _words(
    "ACCESS CLOSE COMMIT CREATE DELEGPURGE DELEGRETURN GETATTR GETFH LINK LOCK LOCKT LOCKU LOOKUP "
    "LOOKUPP NVERIFY OPEN OPENATTR OPEN_CONFIRM OPEN_DOWNGRADE PUTFH PUTPUBFH PUTROOTFH READ "
    "READDIR READLINK REMOVE RENAME RENEW RESTOREFH SAVEFH SECINFO SETATTR SETCLIENTID "
    "SETCLIENTID_CONFIRM VERIFY WRITE RELEASE_LOCKOWNER "
    # Since 4.1.
    "BACKCHANNEL_CTL BIND_CONN_TO_SESSION EXCHANGE_ID CREATE_SESSION DESTROY_SESSION FREE_STATEID "
    "GET_DIR_DELEGATION GETDEVICEINFO GETDEVICELIST LAYOUTCOMMIT LAYOUTGET LAYOUTRETURN "
    "SECINFO_NO_NAME SEQUENCE SET_SSV TEST_STATEID WANT_DELEGATION DESTROY_CLIENTID "
    "RECLAIM_COMPLETE "
    # Since 4.2, and the extended attributes.
    "ALLOCATE COPY COPY_NOTIFY DEALLOCATE IO_ADVISE LAYOUTERROR LAYOUTSTATS OFFLOAD_CANCEL "
    "OFFLOAD_STATUS READ_PLUS SEEK WRITE_SAME CLONE GETXATTR SETXATTR LISTXATTRS REMOVEXATTR"
)
"""In the order of their numbers, from :data:`FIRST_V4_OPERATION`."""

DATA_OPERATIONS = {"READ": "read", "READ_PLUS": "read", "WRITE": "write", "COPY": "copy"}
"""Those whose bytes are counted, in every version that has them, and what they do."""

_ILLEGAL = 188
"""In a shape: ILLEGAL (10044), which Linux makes of all that it does not know."""
_PREPARATIONS = frozenset(
    _words("SEQUENCE PUTFH PUTROOTFH PUTPUBFH SAVEFH RESTOREFH GETFH GETATTR ACCESS")
)
"""Of a compound: what comes before or after the operation for which a client has sent it."""

_V2_V3_STATUSES = {
    1: "PERM", 2: "NOENT", 5: "IO", 6: "NXIO", 13: "ACCES", 17: "EXIST", 18: "XDEV", 19: "NODEV",
    20: "NOTDIR", 21: "ISDIR", 22: "INVAL", 27: "FBIG", 28: "NOSPC", 30: "ROFS", 31: "MLINK",
    63: "NAMETOOLONG", 66: "NOTEMPTY", 69: "DQUOT", 70: "STALE", 71: "REMOTE", 99: "WFLUSH",
    10001: "BADHANDLE", 10002: "NOT_SYNC", 10003: "BAD_COOKIE", 10004: "NOTSUPP",
    10005: "TOOSMALL", 10006: "SERVERFAULT", 10007: "BADTYPE", 10008: "JUKEBOX",
}  # fmt: skip
_V4_STATUSES = {
    1: "PERM", 2: "NOENT", 5: "IO", 6: "NXIO", 13: "ACCESS", 17: "EXIST", 18: "XDEV",
    20: "NOTDIR", 21: "ISDIR", 22: "INVAL", 27: "FBIG", 28: "NOSPC", 30: "ROFS", 31: "MLINK",
    63: "NAMETOOLONG", 66: "NOTEMPTY", 69: "DQUOT", 70: "STALE",
    10001: "BADHANDLE", 10003: "BAD_COOKIE", 10004: "NOTSUPP", 10005: "TOOSMALL",
    10006: "SERVERFAULT", 10007: "BADTYPE", 10008: "DELAY", 10009: "SAME", 10010: "DENIED",
    10011: "EXPIRED", 10012: "LOCKED", 10013: "GRACE", 10014: "FHEXPIRED", 10015: "SHARE_DENIED",
    10016: "WRONGSEC", 10017: "CLID_INUSE", 10018: "RESOURCE", 10019: "MOVED",
    10020: "NOFILEHANDLE", 10021: "MINOR_VERS_MISMATCH", 10022: "STALE_CLIENTID",
    10023: "STALE_STATEID", 10024: "OLD_STATEID", 10025: "BAD_STATEID", 10026: "BAD_SEQID",
    10027: "NOT_SAME", 10028: "LOCK_RANGE", 10029: "SYMLINK", 10030: "RESTOREFH",
    10031: "LEASE_MOVED", 10032: "ATTRNOTSUPP", 10033: "NO_GRACE", 10034: "RECLAIM_BAD",
    10035: "RECLAIM_CONFLICT", 10036: "BADXDR", 10037: "LOCKS_HELD", 10038: "OPENMODE",
    10039: "BADOWNER", 10040: "BADCHAR", 10041: "BADNAME", 10042: "BAD_RANGE",
    10043: "LOCK_NOTSUPP", 10044: "OP_ILLEGAL", 10045: "DEADLOCK", 10046: "FILE_OPEN",
    10047: "ADMIN_REVOKED", 10048: "CB_PATH_DOWN", 10049: "BADIOMODE", 10050: "BADLAYOUT",
    10051: "BAD_SESSION_DIGEST", 10052: "BADSESSION", 10053: "BADSLOT", 10054: "COMPLETE_ALREADY",
    10055: "CONN_NOT_BOUND_TO_SESSION", 10056: "DELEG_ALREADY_WANTED", 10057: "BACK_CHAN_BUSY",
    10058: "LAYOUTTRYLATER", 10059: "LAYOUTUNAVAILABLE", 10060: "NOMATCHING_LAYOUT",
    10061: "RECALLCONFLICT", 10062: "UNKNOWN_LAYOUTTYPE", 10063: "SEQ_MISORDERED",
    10064: "SEQUENCE_POS", 10065: "REQ_TOO_BIG", 10066: "REP_TOO_BIG",
    10067: "REP_TOO_BIG_TO_CACHE", 10068: "RETRY_UNCACHED_REP", 10069: "UNSAFE_COMPOUND",
    10070: "TOO_MANY_OPS", 10071: "OP_NOT_IN_SESSION", 10072: "HASH_ALG_UNSUPP",
    10074: "CLIENTID_BUSY", 10075: "PNFS_IO_HOLE", 10076: "SEQ_FALSE_RETRY",
    10077: "BAD_HIGH_SLOT", 10078: "DEADSESSION", 10079: "ENCR_ALG_UNSUPP",
    10080: "PNFS_NO_LAYOUT", 10081: "NOT_ONLY_OP", 10082: "WRONG_CRED", 10083: "WRONG_TYPE",
    10084: "DIRDELEG_UNAVAIL", 10085: "REJECT_DELEG", 10086: "RETURNCONFLICT",
    10087: "DELEG_REVOKED", 10088: "PARTNER_NOTSUPP", 10089: "PARTNER_NO_AUTH",
    10090: "UNION_NOTSUPP", 10091: "OFFLOAD_DENIED", 10092: "WRONG_LFS", 10093: "BADLABEL",
    10094: "OFFLOAD_NO_REQS", 10095: "NOXATTR", 10096: "XATTR2BIG",
}  # fmt: skip


def name_version(version: int, minor: int) -> str:
    """``2``, ``3``, ``4.1``."""
    return f"4.{minor}" if version == COMPOUND_VERSION else str(version)


def name_procedure(version: int, number: int, *, is_acl: bool = False) -> str:
    """A procedure of NFS, or of NFSACL."""
    return _name(ACL_PROCEDURES.get(version, ()) if is_acl else PROCEDURES[version], number)


def name_v4_operation(number: int) -> str:
    """An operation as a shape has it, in one byte."""
    if number == _ILLEGAL:
        return "ILLEGAL"
    index = number - FIRST_V4_OPERATION
    return V4_OPERATIONS[index] if 0 <= index < len(V4_OPERATIONS) else str(number)


def name_operation(version: int, number: int) -> str:
    """An operation of version 4, or a procedure of the others."""
    return (
        name_v4_operation(number)
        if version == COMPOUND_VERSION
        else name_procedure(version, number)
    )


def name_status(version: int, status: int) -> str:
    """``NOENT``, without the prefix; versions 2 and 3 have the same, and 4 has its own."""
    statuses = _V4_STATUSES if version == COMPOUND_VERSION else _V2_V3_STATUSES
    return statuses.get(status, str(status))


@lru_cache(maxsize=4096)  # a server sees a few dozen
def expand_shape(shape: int) -> tuple[str, ...]:
    """The operations of a COMPOUND, or of a part of it, in their order.

    ``shape`` has eight bits for each, the first in the highest byte used; 0 is none. Raises
    ``ValueError`` where a byte within it is 0, which is no operation.
    """
    numbers = shape.to_bytes(8, "big").lstrip(b"\0")
    if 0 in numbers:
        raise ValueError(f"not the shape of a COMPOUND: {shape:#x}")
    return tuple(name_v4_operation(number) for number in numbers)


def find_principal(operations: tuple[str, ...]) -> str:
    """The operation for which a COMPOUND was sent: the first that is no mere preparation.

    The last one where all are. The time of the COMPOUND is booked to it. ``operations`` are not
    empty.
    """
    return next((name for name in operations if name not in _PREPARATIONS), operations[-1])


def _name(names: tuple[str, ...], number: int) -> str:
    return names[number] if number < len(names) else str(number)

"""The metrics of SMB sessions; the catalogue has them as well."""

from nfszbx.metric import Kind, Metric

SESSIONS = Metric(
    "nfszbx_smb_sessions",
    Kind.GAUGE,
    "SMB sessions",
    "Sessions of smbd that a user has from a client.",
    ("client", "user"),
)
TREE_CONNECTS = Metric(
    "nfszbx_smb_tree_connects",
    Kind.GAUGE,
    "SMB tree connects",
    "Connections of a client to a share of smbd (tree connects). IPC$, which every client has, is "
    "left out.",
    ("client", "share"),
)
SESSIONS_UP = Metric(
    "nfszbx_smb_up",
    Kind.GAUGE,
    "SMB sessions are known",
    "1 while smbstatus tells who is connected to smbd, otherwise 0.",
)

METRICS = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
"""In their order above."""

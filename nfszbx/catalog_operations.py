"""The metrics of NFS operations; the catalogue has them as well.

A dimension that is switched off is an empty label; where it is the only one, everything is
``other``.
"""

from nfszbx.metric import Kind, Metric, Unit

OPERATION_LABELS = ("version", "operation", "client", "export", "user")
LATENCY_LABELS = ("version", "operation", "client")

OPERATIONS = Metric(
    "nfszbx_nfs_operations_total",
    Kind.COUNTER,
    "Operations",
    "NFS operations that were carried out, with success or not: procedures of NFS 2 and 3, and "
    "what COMPOUND holds in NFS 4.",
    OPERATION_LABELS,
)
OPERATION_RATE = Metric(
    "nfszbx_nfs_operations_per_second",
    Kind.RATE,
    "Operations per second",
    "NFS operations per second.",
    OPERATION_LABELS,
)
READ_BYTES = Metric(
    "nfszbx_nfs_read_bytes_total",
    Kind.COUNTER,
    "Bytes read",
    "Bytes that clients have read from files: what was read, not what was asked for.",
    OPERATION_LABELS,
    unit=Unit.BYTES,
)
READ_RATE = Metric(
    "nfszbx_nfs_read_bytes_per_second",
    Kind.RATE,
    "Bytes read per second",
    "Bytes per second that clients have read from files.",
    OPERATION_LABELS,
    unit=Unit.BYTES_PER_SECOND,
)
WRITE_BYTES = Metric(
    "nfszbx_nfs_write_bytes_total",
    Kind.COUNTER,
    "Bytes written",
    "Bytes that clients have written to files: what was written, not what was asked for.",
    OPERATION_LABELS,
    unit=Unit.BYTES,
)
WRITE_RATE = Metric(
    "nfszbx_nfs_write_bytes_per_second",
    Kind.RATE,
    "Bytes written per second",
    "Bytes per second that clients have written to files.",
    OPERATION_LABELS,
    unit=Unit.BYTES_PER_SECOND,
)
COPY_BYTES = Metric(
    "nfszbx_nfs_copy_bytes_total",
    Kind.COUNTER,
    "Bytes copied",
    "Bytes that the server has copied for clients by itself (COPY), without the network.",
    OPERATION_LABELS,
    unit=Unit.BYTES,
)
ERRORS = Metric(
    "nfszbx_nfs_errors_total",
    Kind.COUNTER,
    "Operations that failed",
    "NFS operations that were answered with an error, by its name in the protocol.",
    (*OPERATION_LABELS, "status"),
)
ERROR_RATE = Metric(
    "nfszbx_nfs_errors_per_second",
    Kind.RATE,
    "Operations that failed per second",
    "NFS operations per second that were answered with an error.",
    (*OPERATION_LABELS, "status"),
)
EXPORT_OPERATION_RATE = Metric(
    "nfszbx_nfs_export_operations_per_second",
    Kind.RATE,
    "Operations per second",
    "NFS operations per second on an export, of all clients, whether they have rows or not.",
    ("export",),
)
EXPORT_READ_RATE = Metric(
    "nfszbx_nfs_export_read_bytes_per_second",
    Kind.RATE,
    "Bytes read per second",
    "Bytes per second that all clients have read from files of an export.",
    ("export",),
    unit=Unit.BYTES_PER_SECOND,
)
EXPORT_WRITE_RATE = Metric(
    "nfszbx_nfs_export_write_bytes_per_second",
    Kind.RATE,
    "Bytes written per second",
    "Bytes per second that all clients have written to files of an export.",
    ("export",),
    unit=Unit.BYTES_PER_SECOND,
)
CLIENT_OPERATION_RATE = Metric(
    "nfszbx_nfs_client_operations_per_second",
    Kind.RATE,
    "Operations per second",
    "NFS operations per second of a client, on all exports, whether it has rows or not.",
    ("client",),
)
REQUEST_SECONDS = Metric(
    "nfszbx_nfs_request_seconds",
    Kind.HISTOGRAM,
    "Time of requests",
    "Time from the receipt of a request to its answer. That of a COMPOUND stands at its principal "
    "operation.",
    (*LATENCY_LABELS, "le"),
    unit=Unit.SECONDS,
)
REQUEST_P50 = Metric(
    "nfszbx_nfs_request_p50_seconds",
    Kind.RATE,
    "Time of requests, median",
    "Half of the requests took at most as long, to the next power of two.",
    LATENCY_LABELS,
    unit=Unit.SECONDS,
)
REQUEST_P95 = Metric(
    "nfszbx_nfs_request_p95_seconds",
    Kind.RATE,
    "Time of requests, 95 %",
    "95 of 100 requests took at most as long, to the next power of two.",
    LATENCY_LABELS,
    unit=Unit.SECONDS,
)
REQUEST_P99 = Metric(
    "nfszbx_nfs_request_p99_seconds",
    Kind.RATE,
    "Time of requests, 99 %",
    "99 of 100 requests took at most as long, to the next power of two.",
    LATENCY_LABELS,
    unit=Unit.SECONDS,
)
RPCS = Metric(
    "nfszbx_nfs_requests_total",
    Kind.COUNTER,
    "Requests",
    "RPC requests to the NFS server, by what became of them: executed, answered from the cache of "
    "replies (cached), dropped, or undecodable.",
    ("version", "procedure", "result"),
)
THREAD_WAIT_SECONDS = Metric(
    "nfszbx_nfs_thread_wait_seconds",
    Kind.HISTOGRAM,
    "Wait for a thread",
    "Time that requests have waited for a free thread of nfsd.",
    ("le",),
    unit=Unit.SECONDS,
)
THREAD_WAIT_P95 = Metric(
    "nfszbx_nfs_thread_wait_p95_seconds",
    Kind.RATE,
    "Wait for a thread, 95 %",
    "95 of 100 requests have waited at most as long, to the next power of two.",
    unit=Unit.SECONDS,
)
THREADS = Metric("nfszbx_nfs_threads", Kind.GAUGE, "Threads of nfsd", "Threads that nfsd has.")
BUSY_THREADS = Metric(
    "nfszbx_nfs_threads_busy",
    Kind.GAUGE,
    "Busy threads of nfsd",
    "Threads of nfsd that were at work, on the average of the interval.",
)
OPERATIONS_UP = Metric(
    "nfszbx_nfs_up",
    Kind.GAUGE,
    "Operations are counted",
    "1 while NFS operations are counted, otherwise 0.",
)
OPERATIONS_MAP_ENTRIES = Metric(
    "nfszbx_nfs_map_entries",
    Kind.GAUGE,
    "Entries in the map of requests",
    "Entries in the fullest of the kernel's maps of NFS requests.",
)
OPERATIONS_MAP_MAX_ENTRIES = Metric(
    "nfszbx_nfs_map_max_entries",
    Kind.GAUGE,
    "Entries that fit into the map of requests",
    "Entries that these maps may grow to. What is beyond is not counted: "
    "nfszbx_nfs_uncounted_operations_total and nfszbx_nfs_uncounted_bytes_total tell how much.",
)
UNCOUNTED = Metric(
    "nfszbx_nfs_uncounted_operations_total",
    Kind.COUNTER,
    "Operations not counted",
    "Operations that the kernel has counted (/proc/net/rpc/nfsd) and nfszbx has not, since it "
    "began: while its bpftrace did not run, or when its map was full. Told a minute or two later; "
    "a request that takes longer than a minute is among them.",
    ("version", "operation"),
)
UNCOUNTED_BYTES = Metric(
    "nfszbx_nfs_uncounted_bytes_total",
    Kind.COUNTER,
    "Bytes not counted",
    "Bytes read and written that the kernel has counted (io in /proc/net/rpc/nfsd) and nfszbx has "
    "not, since it began; also those of a write that a failed write-back turns into an error.",
    ("direction",),
    unit=Unit.BYTES,
)

METRICS = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
"""In their order above."""

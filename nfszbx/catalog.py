"""Every metric, once: name, kind, unit, labels and help. Sinks, templates and documents read it.

Names follow the Prometheus guidelines: base units in the name, ``_total`` for what only grows.
"""

from nfszbx import catalog_operations, catalog_smb
from nfszbx.metric import Kind, Metric, Unit

FLOW_LABELS = ("service", "transport")
CLIENT_LABELS = (*FLOW_LABELS, "client")

RECEIVE_BYTES = Metric(
    "nfszbx_receive_bytes_total",
    Kind.COUNTER,
    "Bytes received",
    "Bytes that the service received from all clients.",
    FLOW_LABELS,
    unit=Unit.BYTES,
)
TRANSMIT_BYTES = Metric(
    "nfszbx_transmit_bytes_total",
    Kind.COUNTER,
    "Bytes sent",
    "Bytes that the service sent to all clients.",
    FLOW_LABELS,
    unit=Unit.BYTES,
)
RECEIVE_RATE = Metric(
    "nfszbx_receive_bytes_per_second",
    Kind.RATE,
    "Bytes received per second",
    "Bytes per second that the service received from all clients.",
    FLOW_LABELS,
    unit=Unit.BYTES_PER_SECOND,
)
TRANSMIT_RATE = Metric(
    "nfszbx_transmit_bytes_per_second",
    Kind.RATE,
    "Bytes sent per second",
    "Bytes per second that the service sent to all clients.",
    FLOW_LABELS,
    unit=Unit.BYTES_PER_SECOND,
)
CLIENT_RECEIVE_BYTES = Metric(
    "nfszbx_client_receive_bytes_total",
    Kind.COUNTER,
    "Bytes received",
    "Bytes that the service received from one client; 'other' is all clients without a row.",
    CLIENT_LABELS,
    unit=Unit.BYTES,
)
CLIENT_TRANSMIT_BYTES = Metric(
    "nfszbx_client_transmit_bytes_total",
    Kind.COUNTER,
    "Bytes sent",
    "Bytes that the service sent to one client; 'other' is all clients without a row.",
    CLIENT_LABELS,
    unit=Unit.BYTES,
)
CLIENT_RECEIVE_RATE = Metric(
    "nfszbx_client_receive_bytes_per_second",
    Kind.RATE,
    "Bytes received per second",
    "Bytes per second that the service received from one client.",
    CLIENT_LABELS,
    unit=Unit.BYTES_PER_SECOND,
)
CLIENT_TRANSMIT_RATE = Metric(
    "nfszbx_client_transmit_bytes_per_second",
    Kind.RATE,
    "Bytes sent per second",
    "Bytes per second that the service sent to one client.",
    CLIENT_LABELS,
    unit=Unit.BYTES_PER_SECOND,
)

BUILD_INFO = Metric(
    "nfszbx_build_info", Kind.GAUGE, "Version", "Always 1; the label has the version.", ("version",)
)
WAY_INFO = Metric(
    "nfszbx_way_info",
    Kind.GAUGE,
    "Way of counting",
    "Always 1; the labels tell how each direction is counted.",
    ("direction", "way"),
)
NOT_MEASURED = Metric(
    "nfszbx_not_measured",
    Kind.GAUGE,
    "Things not measured",
    "Things the plan leaves out; 'nfszbx check' names them.",
)
CHILD_UP = Metric(
    "nfszbx_child_up",
    Kind.GAUGE,
    "Measuring",
    "1 while bpftrace runs and delivers dumps, otherwise 0.",
)
CHILD_STATE = Metric(
    "nfszbx_child_state",
    Kind.GAUGE,
    "State of bpftrace",
    "State of bpftrace: 0 delivering, 1 starting, 2 stopping, 3 waiting for the next start.",
)
CRASH_LOOP = Metric(
    "nfszbx_child_crash_loop",
    Kind.GAUGE,
    "Crash loop",
    "1 while bpftrace ends again and again and is started more and more slowly, otherwise 0.",
)
RESTARTS = Metric(
    "nfszbx_child_restarts_total",
    Kind.COUNTER,
    "Restarts of bpftrace",
    "Ends of bpftrace that nfszbx did not ask for, each followed by a new start.",
    ("reason",),
)
INTERVALS = Metric(
    "nfszbx_intervals_total", Kind.COUNTER, "Intervals", "Intervals that were measured."
)
INCOMPLETE_INTERVALS = Metric(
    "nfszbx_incomplete_intervals_total",
    Kind.COUNTER,
    "Incomplete intervals",
    "Intervals that miss traffic, or all of it, because bpftrace did not run.",
)
GAPS = Metric(
    "nfszbx_gaps_total",
    Kind.COUNTER,
    "Gaps",
    "Times in which nothing was counted: after an end of bpftrace or of nfszbx.",
)
GAP_SECONDS = Metric(
    "nfszbx_gap_seconds_total",
    Kind.COUNTER,
    "Seconds in gaps",
    "Time without counting, from the last values before each end of bpftrace.",
    unit=Unit.SECONDS,
)
RECOVERED = Metric(
    "nfszbx_recovered_bytes_total",
    Kind.COUNTER,
    "Bytes recovered",
    "Bytes that flowed in gaps and were found afterwards, by the kernel's counters per socket.",
    ("service", "direction"),
    unit=Unit.BYTES,
)
INTERVAL_SECONDS = Metric(
    "nfszbx_interval_seconds",
    Kind.GAUGE,
    "Length of the interval",
    "Length of the last measured interval.",
    unit=Unit.SECONDS,
)
LAST_DUMP = Metric(
    "nfszbx_last_dump_timestamp_seconds",
    Kind.GAUGE,
    "Last dump",
    "Unix time of the last usable dump.",
    unit=Unit.UNIX_TIME,
)
REFUSED_DUMPS = Metric(
    "nfszbx_refused_dumps_total",
    Kind.COUNTER,
    "Refused dumps",
    "Dumps that were damaged or incomplete; the next one brings what they held.",
)
LOST_EVENTS = Metric(
    "nfszbx_lost_events_total",
    Kind.COUNTER,
    "Lost events",
    "Records that bpftrace could not deliver; they are repeated with the next dump.",
)
MISSED_RUNS = Metric(
    "nfszbx_missed_runs_total",
    Kind.COUNTER,
    "Missed runs of probes",
    "Probe hits that the kernel says it did not run. The way kprobe catches up with their bytes "
    "unless a whole connection is missed; the other ways, and NFS over UDP and RDMA, do not.",
)
MAP_ENTRIES = Metric(
    "nfszbx_map_entries",
    Kind.GAUGE,
    "Entries in the map of clients",
    "Entries in the kernel's map of clients.",
)
MAP_MAX_ENTRIES = Metric(
    "nfszbx_map_max_entries",
    Kind.GAUGE,
    "Entries that fit into the map of clients",
    "Entries that fit; what is beyond goes to 'other'.",
)
DRIFT = Metric(
    "nfszbx_drift_ratio",
    Kind.GAUGE,
    "Drift",
    "What was counted too much (below zero: too little) in the last audit, as a part of what the "
    "kernel's own counters per socket say.",
    ("service", "direction"),
)
AUDITS = Metric(
    "nfszbx_audits_total",
    Kind.COUNTER,
    "Audits",
    "Comparisons with the kernel's own counters per socket.",
)
STATE_KEPT = Metric(
    "nfszbx_state_kept",
    Kind.GAUGE,
    "State directory works",
    "1 while what outlasts a restart is written to the state directory, otherwise 0: measuring "
    "and sending go on from memory.",
)
SINKS_RESTARTS = Metric(
    "nfszbx_sinks_restarts_total",
    Kind.COUNTER,
    "Restarts of the sinks",
    "Ends of the process of the sinks that nfszbx did not ask for, each followed by a new start.",
)
SINK_STATE = Metric(
    "nfszbx_sink_state",
    Kind.GAUGE,
    "State of the sink",
    "State of the sink: 0 delivering, 1 starting, 2 refusing values, 3 backing off since it does "
    "not answer, 4 gone.",
    ("sink",),
)
SINK_QUEUE = Metric(
    "nfszbx_sink_queue_length",
    Kind.GAUGE,
    "Values that wait",
    "Intervals that wait for the sink; of Zabbix, values in the spool.",
    ("sink",),
)
SINK_DELIVERED = Metric(
    "nfszbx_sink_delivered_total",
    Kind.COUNTER,
    "Values delivered",
    "Intervals that the sink took; of Zabbix, values.",
    ("sink",),
)
SINK_DROPPED = Metric(
    "nfszbx_sink_dropped_total",
    Kind.COUNTER,
    "Values dropped",
    "Intervals that found the sink's queue full, or values that were too many or too old for the "
    "spool.",
    ("sink",),
)
SINK_ERRORS = Metric(
    "nfszbx_sink_errors_total",
    Kind.COUNTER,
    "Failed deliveries",
    "Deliveries that failed.",
    ("sink",),
)

METRICS = (
    *(value for value in list(globals().values()) if isinstance(value, Metric)),
    *catalog_operations.METRICS,
    *catalog_smb.METRICS,
)
"""All of them, in their order above."""

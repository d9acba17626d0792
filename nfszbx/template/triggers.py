"""What the template warns of, and from when on: thresholds are macros that the user can change."""

from nfszbx.template.parts import TEMPLATE, Trigger

MACROS = {
    "{$NFSZBX.NODATA.TIME}": (
        "5m",
        "How long nothing may come before nfszbx counts as down; more than two intervals.",
    ),
    "{$NFSZBX.INCOMPLETE.MAX.WARN}": ("2", "Incomplete intervals in an hour."),
    "{$NFSZBX.RESTARTS.MAX.WARN}": ("2", "Restarts of bpftrace in an hour."),
    "{$NFSZBX.MAP.FILL.MAX.WARN}": ("90", "Fill of the kernel's map of clients, in percent."),
    "{$NFSZBX.QUEUE.MAX.WARN}": ("100", "Values that may wait in the spool for 15 minutes."),
    "{$NFSZBX.DRIFT.MAX.WARN}": (
        "1",
        "Difference between counts and the kernel's own counters, in percent; can have a service.",
    ),
    "{$NFSZBX.CLIENT.RATE.MAX.WARN}": (
        "100M",
        "Bytes per second of one client for 5 minutes; can have a client: 'nfsd 10.0.0.7'.",
    ),
    "{$NFSZBX.CLIENT.SHARE.MAX.WARN}": (
        "80",
        "Part of all traffic that one client has for 15 minutes, in percent; can have a client.",
    ),
    "{$NFSZBX.CLIENT.SHARE.MIN.RATE}": (
        "10M",
        "Bytes per second of all clients below which shares are of no interest.",
    ),
    "{$NFSZBX.NFS.BUSY.MAX.WARN}": (
        "95",
        "Part of nfsd's threads that are at work for 5 minutes, in percent.",
    ),
    "{$NFSZBX.NFS.TIME.MAX.WARN}": (
        "1",
        "Seconds that 95 of 100 requests take at most; can have an operation: '4.2 READ'.",
    ),
    "{$NFSZBX.OPERATION.MATCHES}": (
        ".*",
        "NFS operations that are discovered: a regular expression.",
    ),
    "{$NFSZBX.OPERATION.NOT_MATCHES}": ("^$", "NFS operations that are not discovered."),
    "{$NFSZBX.EXPORT.MATCHES}": (".*", "Exports that are discovered: a regular expression."),
    "{$NFSZBX.EXPORT.NOT_MATCHES}": ("^$", "Exports that are not discovered."),
    "{$NFSZBX.CLIENT.MATCHES}": (".*", "Clients that are discovered: a regular expression."),
    "{$NFSZBX.CLIENT.NOT_MATCHES}": ("^$", "Clients that are not discovered."),
    "{$NFSZBX.SERVICE.MATCHES}": (".*", "Services that are discovered: a regular expression."),
    "{$NFSZBX.SERVICE.NOT_MATCHES}": ("^$", "Services that are not discovered."),
}

_MEASURING = f"/{TEMPLATE}/nfszbx.child_up"

NO_DATA = Trigger(
    "nfszbx: No data",
    f"nodata(/{TEMPLATE}/nfszbx.intervals_total,{{$NFSZBX.NODATA.TIME}})=1",
    "AVERAGE",
    "Nothing has come from nfszbx. Is it running, and can it reach this server? "
    "On the file server: nfszbx zabbix check",
    event_name="nfszbx: No data for {$NFSZBX.NODATA.TIME}",
)


def _grown(key: str, macro: str) -> str:
    """A counter has grown by more than so much in an hour; a restart begins it at zero again."""
    return f"last(/{TEMPLATE}/{key})-min(/{TEMPLATE}/{key},1h)>{macro}"


TRIGGERS = {
    "nfszbx.intervals_total": (NO_DATA,),
    "nfszbx.child_up": (
        Trigger(
            "nfszbx: Traffic is not measured",
            f"last({_MEASURING})=0",
            "HIGH",
            "bpftrace does not run or delivers nothing; the log of nfszbx tells why.",
            operational_data="Measuring: {ITEM.LASTVALUE1}",
            depends_on=NO_DATA,
        ),
    ),
    "nfszbx.child_crash_loop": (
        Trigger(
            "nfszbx: bpftrace is in a crash loop",
            f"last(/{TEMPLATE}/nfszbx.child_crash_loop)>0",
            "HIGH",
            "bpftrace ends again and again, and is started more and more slowly; what flows in "
            "between is not measured. The log of nfszbx tells how it ends.",
            operational_data="Crash loop: {ITEM.LASTVALUE1}",
            depends_on=NO_DATA,
        ),
    ),
    "nfszbx.state_kept": (
        Trigger(
            "nfszbx: State directory cannot be written",
            f"last(/{TEMPLATE}/nfszbx.state_kept)=0",
            "WARNING",
            "Is the disk full? Values wait in memory, and a restart of nfszbx would lose them.",
            operational_data="Works: {ITEM.LASTVALUE1}",
            depends_on=NO_DATA,
            scope="capacity",
        ),
    ),
    "nfszbx.incomplete_intervals_total": (
        Trigger(
            "nfszbx: Intervals are incomplete",
            _grown("nfszbx.incomplete_intervals_total", "{$NFSZBX.INCOMPLETE.MAX.WARN}"),
            "WARNING",
            "Traffic was missed because bpftrace did not run all the time.",
            event_name="nfszbx: More than {$NFSZBX.INCOMPLETE.MAX.WARN} incomplete intervals in 1h",
            operational_data="Since the start: {ITEM.LASTVALUE1}",
            depends_on=NO_DATA,
            scope="notice",
        ),
    ),
    "nfszbx.child_restarts_total": (
        Trigger(
            "nfszbx: bpftrace is restarted too often",
            _grown("nfszbx.child_restarts_total", "{$NFSZBX.RESTARTS.MAX.WARN}"),
            "WARNING",
            "bpftrace ends by itself or is killed; the log of nfszbx tells how.",
            event_name="nfszbx: More than {$NFSZBX.RESTARTS.MAX.WARN} restarts of bpftrace in 1h",
            operational_data="Since the start: {ITEM.LASTVALUE1}",
            depends_on=NO_DATA,
            scope="availability",
        ),
    ),
    "nfszbx.map_fill": (
        Trigger(
            "nfszbx: Map of clients is nearly full",
            f"last(/{TEMPLATE}/nfszbx.map_fill)>{{$NFSZBX.MAP.FILL.MAX.WARN}}",
            "WARNING",
            "Another bpftrace takes over, with an empty map. If this comes again and again, raise "
            "map_max_entries: clients for which there is no room are part of 'other'.",
            event_name="nfszbx: Map of clients is fuller than {$NFSZBX.MAP.FILL.MAX.WARN}%",
            operational_data="Fill: {ITEM.LASTVALUE1}",
            depends_on=NO_DATA,
            scope="capacity",
        ),
    ),
    "nfszbx.nfs.up": (
        Trigger(
            "nfszbx: NFS operations are not counted",
            f"last(/{TEMPLATE}/nfszbx.nfs.up)=0 and last(/{TEMPLATE}/nfszbx.nfs.threads)>0",
            "WARNING",
            "The bpftrace that counts them does not run; traffic is measured by another one. The "
            "log of nfszbx tells why.",
            operational_data="Counting: {ITEM.LASTVALUE1}",
            depends_on=NO_DATA,
        ),
    ),
    "nfszbx.nfs.threads_busy": (
        Trigger(
            "nfszbx: All threads of nfsd are busy",
            f"min(/{TEMPLATE}/nfszbx.nfs.threads_busy,5m)*100"
            f">{{$NFSZBX.NFS.BUSY.MAX.WARN}}*last(/{TEMPLATE}/nfszbx.nfs.threads)"
            f" and last(/{TEMPLATE}/nfszbx.nfs.threads)>0",
            "WARNING",
            "Requests wait for a thread. If the disks have room for more, give nfsd more threads "
            "(threads in /etc/nfs.conf).",
            event_name="nfszbx: More than {$NFSZBX.NFS.BUSY.MAX.WARN}% of nfsd's threads are busy",
            operational_data="Busy: {ITEM.LASTVALUE1} of {ITEM.LASTVALUE2}",
            depends_on=NO_DATA,
            scope="performance",
        ),
    ),
    "nfszbx.nfs.map_fill": (
        Trigger(
            "nfszbx: Map of NFS requests is nearly full",
            f"last(/{TEMPLATE}/nfszbx.nfs.map_fill)>{{$NFSZBX.MAP.FILL.MAX.WARN}}",
            "WARNING",
            "Its bpftrace is started anew, with empty maps. What does not fit is not counted: "
            "'Operations not counted' and 'Bytes not counted' tell how much. If this comes again "
            "and again, raise operations.map_max_entries, or switch a label off in "
            "operations.labels.",
            event_name="nfszbx: Map of NFS requests is fuller than {$NFSZBX.MAP.FILL.MAX.WARN}%",
            operational_data="Fill: {ITEM.LASTVALUE1}",
            depends_on=NO_DATA,
            scope="capacity",
        ),
    ),
    "nfszbx.not_measured": (
        Trigger(
            "nfszbx: Not everything is measured",
            f"last(/{TEMPLATE}/nfszbx.not_measured)>0",
            "INFO",
            "On the file server, 'nfszbx check' tells what is left out, and why.",
            operational_data="Left out: {ITEM.LASTVALUE1}",
            depends_on=NO_DATA,
            scope="notice",
        ),
    ),
    "nfszbx.sink_queue_length": (
        Trigger(
            "nfszbx: Values wait to be sent",
            f"min(/{TEMPLATE}/nfszbx.sink_queue_length,15m)>{{$NFSZBX.QUEUE.MAX.WARN}}",
            "WARNING",
            "A Zabbix server or proxy cannot be reached or refuses values; they wait on disk.",
            event_name="nfszbx: More than {$NFSZBX.QUEUE.MAX.WARN} values wait for 15m",
            operational_data="Waiting: {ITEM.LASTVALUE1}",
            depends_on=NO_DATA,
            scope="performance",
        ),
    ),
    "nfszbx.sink_dropped_total": (
        Trigger(
            "nfszbx: Values were dropped",
            _grown("nfszbx.sink_dropped_total", "0"),
            "AVERAGE",
            "The spool was full, or values were older than it keeps them.",
            operational_data="Since the start: {ITEM.LASTVALUE1}",
            depends_on=NO_DATA,
            scope="notice",
        ),
    ),
    "nfszbx.build_info": (
        Trigger(
            "nfszbx: Version has changed",
            f"last(/{TEMPLATE}/nfszbx.build_info,#1)<>last(/{TEMPLATE}/nfszbx.build_info,#2)"
            f" and length(last(/{TEMPLATE}/nfszbx.build_info))>0",
            "INFO",
            "Close the problem by hand.",
            event_name="nfszbx: Version has changed to {ITEM.LASTVALUE1}",
            is_closed_by_hand=True,
            scope="notice",
        ),
    ),
}
"""By the keys of the items."""


def make_drift_trigger(direction: str, key: str) -> Trigger:
    """For what was counted differently from the kernel three audits long."""
    item, macro = f"/{TEMPLATE}/{key}", '{$NFSZBX.DRIFT.MAX.WARN:"{#SERVICE}"}'
    return Trigger(
        f"nfszbx: {{#SERVICE}}: Counts drift, {direction}",
        f"min({item},15m)>{macro} or max({item},15m)<-{macro}",
        "WARNING",
        "What was counted differs from the kernel's own counters per socket. "
        "'nfszbx check' tells what this way of counting does not see.",
        event_name=f"nfszbx: {{#SERVICE}}: Counts drift by more than {macro}%, {direction}",
        operational_data="Drift: {ITEM.LASTVALUE1}",
        scope="notice",
    )


def make_rate_trigger(title: str, key: str) -> Trigger:
    """For a busy client; off by default."""
    macro = '{$NFSZBX.CLIENT.RATE.MAX.WARN:"{#ID}"}'
    return Trigger(
        f"nfszbx: {{#ID}}: High rate: {title}",
        f"min(/{TEMPLATE}/{key},5m)>{macro}",
        "WARNING",
        "One client has moved that much for 5 minutes.",
        event_name=f"nfszbx: {{#ID}}: {title} over {macro} for 5m",
        operational_data="Now: {ITEM.LASTVALUE1}",
        is_enabled=False,
        scope="performance",
    )


def make_latency_trigger(key: str) -> Trigger:
    """For an operation whose requests take long; off by default."""
    macro = '{$NFSZBX.NFS.TIME.MAX.WARN:"{#ID}"}'
    return Trigger(
        "nfszbx: NFS {#ID}: Requests take long",
        f"min(/{TEMPLATE}/{key},15m)>{macro}",
        "WARNING",
        "One of 20 requests takes that long, for 15 minutes.",
        event_name=f"nfszbx: NFS {{#ID}}: 95 % of requests take up to more than {macro} s for 15m",
        operational_data="Now: {ITEM.LASTVALUE1}",
        is_enabled=False,
        scope="performance",
    )


def make_share_trigger(title: str, key: str, sum_key: str) -> Trigger:
    """For a client that has most of the traffic; off by default."""
    client, everything = f"avg(/{TEMPLATE}/{key},15m)", f"avg(/{TEMPLATE}/{sum_key},15m)"
    macro = '{$NFSZBX.CLIENT.SHARE.MAX.WARN:"{#ID}"}'
    return Trigger(
        f"nfszbx: {{#ID}}: Large share: {title}",
        f"{client}*100>{macro}*{everything} and {everything}>{{$NFSZBX.CLIENT.SHARE.MIN.RATE}}",
        "WARNING",
        "One client has most of the traffic of all services.",
        event_name=f"nfszbx: {{#ID}}: More than {macro}% of all traffic for 15m: {title}",
        operational_data="Now: {ITEM.LASTVALUE1}",
        is_enabled=False,
        scope="performance",
    )

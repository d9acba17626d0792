"""A test value: the version of nfszbx, as any document of totals has it, and nothing else."""

import json
import time
from dataclasses import dataclass

from nfszbx import __version__, catalog
from nfszbx.clock import monotonic_seconds, unix_seconds
from nfszbx.errors import SinkUnavailableError
from nfszbx.samples import NANOSECONDS_PER_SECOND
from nfszbx.sinks.zabbix_cluster import ZabbixCluster
from nfszbx.spool_store import Entry
from nfszbx.zabbix.api import ZabbixApi
from nfszbx.zabbix_keys import TOTALS_KEY

VERSION_KEY = f"nfszbx.{catalog.BUILD_INFO.field}"
_HISTORY_OF_TEXT = 1  # value type "character"
_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Probe:
    """A test value on its way."""

    entry: Entry

    @property
    def clock(self) -> int:
        """Its time, in seconds since 1970."""
        return self.entry.unix_ns // NANOSECONDS_PER_SECOND


def make_probe() -> Probe:
    """A new test value, of now."""
    unix_ns = int(unix_seconds() * NANOSECONDS_PER_SECOND) | 1  # never a whole second
    document = {
        "time": unix_ns / NANOSECONDS_PER_SECOND,
        "health": {catalog.BUILD_INFO.field: {__version__: 1}},
    }
    return Probe(Entry(TOTALS_KEY, unix_ns, json.dumps(document)))


def send_until_taken(cluster: ZabbixCluster, timeout_seconds: float) -> Probe | None:
    """A test value that the cluster has taken, or None when it refused for so long.

    Raises :class:`SinkUnavailableError` when no node of it answers; a server that does not know a
    new host's key yet does not.
    """
    deadline = monotonic_seconds() + timeout_seconds
    while True:
        probe = make_probe()
        try:
            if cluster.send([probe.entry]) == 0:
                return probe
        except SinkUnavailableError:
            if monotonic_seconds() >= deadline:
                raise
        if monotonic_seconds() >= deadline:
            return None
        time.sleep(_POLL_SECONDS)


def wait_until_stored(
    api: ZabbixApi, host_id: str, probe: Probe, timeout_seconds: float
) -> str | None:
    """The version as it stands in the history of the host, or None when it does not come."""
    wanted = {"hostids": host_id, "filter": {"key_": VERSION_KEY}, "output": ["itemid"]}
    item_ids = [row["itemid"] for row in api.call("item.get", wanted)]
    deadline = monotonic_seconds() + timeout_seconds
    while True:
        found = api.call(
            "history.get",
            {
                "history": _HISTORY_OF_TEXT,
                "itemids": item_ids,
                "time_from": probe.clock,
                "time_till": probe.clock,
            },
        )
        for row in found:  # nfszbx may run, and have sent a value in the same second
            if int(row["clock"]) * NANOSECONDS_PER_SECOND + int(row["ns"]) == probe.entry.unix_ns:
                return str(row["value"])
        if monotonic_seconds() >= deadline:
            return None
        time.sleep(_POLL_SECONDS)

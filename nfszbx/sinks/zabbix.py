"""Sends each interval to Zabbix, by way of the spool, as documents for trapper items.

The totals go out with every interval, the clients and NFS operations at a slower pace: what depends
on an item in Zabbix shares its pace, and rows of clients are many.
"""

import json
import logging
import os
import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nfszbx import catalog, catalog_smb
from nfszbx.cadence import Cadence, Roster, Row
from nfszbx.counter_store import CounterStore, read_boot_id
from nfszbx.counters import SavedCounters
from nfszbx.document import make_document
from nfszbx.errors import SinkRefusedError
from nfszbx.nodes import parse_node
from nfszbx.samples import NANOSECONDS_PER_SECOND, Samples
from nfszbx.sinks.base import Again
from nfszbx.sinks.roster_file import read_roster, write_roster
from nfszbx.sinks.spooled import SpooledSink
from nfszbx.sinks.zabbix_cluster import ZabbixCluster
from nfszbx.sinks.zabbix_operations import SECONDS_PER_DAY, OperationsDocuments
from nfszbx.sinks.zabbix_tls import make_tls
from nfszbx.spool import Spool, SpoolLimits
from nfszbx.spool_store import Entry
from nfszbx.traffic import Direction
from nfszbx.zabbix_keys import CLIENTS_KEY, OPERATIONS_KEY, TOTALS_KEY

if TYPE_CHECKING:
    from nfszbx.config import Config, ZabbixConfig
    from nfszbx.metric import Metric

_METRICS = {
    Direction.RECEIVE: catalog.CLIENT_RECEIVE_BYTES,
    Direction.TRANSMIT: catalog.CLIENT_TRANSMIT_BYTES,
}
SECONDS_PER_HOUR = 3_600

_log = logging.getLogger(__name__)


NOTHING_AGAIN = Again()


def open_zabbix(
    config: "Config",
    folder: Path,
    clusters: Sequence[ZabbixCluster],
    again: Again = NOTHING_AGAIN,
) -> SpooledSink:
    """The sink with its spool in that folder, for what :func:`make_clusters` has made."""
    zabbix, spool = config.zabbix, config.spool
    limits = SpoolLimits(
        spool.max_bytes, spool.max_age_hours * SECONDS_PER_HOUR, spool.replay_seconds
    )
    documents = ZabbixDocuments(zabbix, folder, again)
    return SpooledSink(
        documents,
        Spool(folder / "spool.sqlite3", [cluster.name for cluster in clusters], limits),
        clusters,
        again.handed_on,
    )


def make_clusters(config: "ZabbixConfig") -> list[ZabbixCluster]:
    """Where values go. Raises :class:`ConfigurationError` for wrong certificates and keys."""
    tls = make_tls(config.tls)
    clusters = [
        tuple(parse_node(node.strip(), config.port) for node in servers.split(";"))
        for servers in config.servers
    ]
    return [
        ZabbixCluster(
            nodes,
            get_host_name(config),
            timeout_seconds=config.timeout_seconds,
            source_address=config.source_address,
            tls=tls,
        )
        for nodes in dict.fromkeys(clusters)  # one that is named twice gets everything once
    ]


def get_host_name(config: "ZabbixConfig") -> str:
    """The name of this machine in Zabbix."""
    return config.host or socket.gethostname()


class ZabbixDocuments:
    """Makes the documents of an interval.

    The clients that Zabbix knows outlast a restart; what was reported of them, until the next boot.
    """

    def __init__(
        self, config: "ZabbixConfig", directory: Path, again: Again = NOTHING_AGAIN
    ) -> None:
        self._roster_path = directory / "clients.json"
        retention_seconds = config.client_retention_days * SECONDS_PER_DAY
        seen = read_roster(self._roster_path)
        self._roster = Roster(config.max_clients, retention_seconds, seen)
        self._counters = CounterStore(directory / "zabbix_clients.sqlite3", read_boot_id())
        saved = self._counters.saved or SavedCounters()
        totals: dict[tuple[Metric, Row], int] = {
            (_METRICS[slot.direction], (*slot.flow, client)): count
            for (slot, client), count in saved.rows.items()
        }
        self._operations = OperationsDocuments(config, directory)
        self._cadence = Cadence(config.clients_interval_seconds, self._roster, totals)
        self._report: Samples | None = None
        """What the last entries have of clients, and the disk has not."""
        self._handed_on = again.handed_on
        ends = {end: number for number, end in again.waiting.items()}
        self._reported = max(again.done, ends.get(self._counters.saved_unix_seconds, 0))
        """The number of the last interval whose clients are in the counters on disk."""
        self._problem = ""

    def make_entries(self, samples: Samples) -> list[Entry]:
        """The totals, and the clients and operations when it is time for them.

        Of an interval that comes again, only what is missing.
        """
        entries = []
        if samples.number == 0 or samples.number > self._handed_on:
            entries.append(self._make_totals(samples))
            operations = self._operations.make_document(samples)
            if operations is not None:
                entries.append(_make_entry(OPERATIONS_KEY, samples, operations))
        if samples.number == 0 or samples.number > self._reported:
            self._report = self._cadence.advance(samples)
        if self._report is not None:
            document = make_document(self._report)
            rows = {name: document[name] for name in ("time", "complete", "clients")}
            entries.append(_make_entry(CLIENTS_KEY, self._report, rows))
        return entries

    def keep(self, samples: Samples) -> int:
        """Write down what the last entries have of clients, now that the spool has them.

        ``samples`` is what they were made of. The number of the last interval whose clients are on
        disk.
        """
        if self._report is not None and self._write_down(self._report):
            self._reported = max(self._reported, samples.number)
        self._report = None
        return self._reported

    def _make_totals(self, samples: Samples) -> Entry:
        others = tuple(
            sample
            for sample in samples.samples
            if sample.metric.labels != catalog.CLIENT_LABELS
            and sample.metric not in catalog_smb.METRICS
        )
        document = make_document(replace(samples, samples=others, operations=None))
        del document["clients"]
        return _make_entry(TOTALS_KEY, samples, document)

    def close(self) -> None:
        """The last call."""
        self._counters.close()

    def _write_down(self, report: Samples) -> bool:
        try:
            write_roster(self._roster_path, self._roster.seen_unix_seconds)
            self._operations.write_down()
            self._counters.deliver(report)
        except (OSError, SinkRefusedError) as error:
            if str(error) != self._problem and os.path.isdir(self._roster_path.parent):  # noqa: PTH112  Path.is_dir raises on a failing disk
                self._problem = str(error)
                _log.warning("the clients that Zabbix knows cannot be remembered: %s", error)
            return False
        return True


def _make_entry(key: str, samples: Samples, document: dict[str, Any]) -> Entry:
    seconds, fraction = divmod(samples.unix_seconds, 1)  # exact, as the product would not be
    unix_ns = int(seconds) * NANOSECONDS_PER_SECOND + int(fraction * NANOSECONDS_PER_SECOND)
    return Entry(key, unix_ns, json.dumps(document, separators=(",", ":")))

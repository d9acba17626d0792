"""The configured sinks: what needs root first, the rest as another user; all stopped together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nfszbx.config import Config
from nfszbx.health import SinkHealth
from nfszbx.samples import Samples
from nfszbx.sinks.base import Worker
from nfszbx.sinks.console import make_console_sink
from nfszbx.sinks.prometheus import Listener, PrometheusSink, listen
from nfszbx.sinks.worker import SinkWorker
from nfszbx.sinks.zabbix import Again, make_clusters, open_zabbix
from nfszbx.sinks.zabbix_cluster import ZabbixCluster

SINK_STOP_SECONDS = 5.0


@dataclass(frozen=True)
class Prepared:
    """What the sinks have of root: a port that may be a low one, and keys from its files."""

    listener: Listener | None
    clusters: Sequence[ZabbixCluster]


def prepare_sinks(config: Config) -> Prepared:
    """Without a byte to or from anybody, and without a thread.

    Raises :class:`SinkStartError` and :class:`ConfigurationError`.
    """
    clusters = make_clusters(config.zabbix) if "zabbix" in config.sinks else []
    return Prepared(
        listen(config.prometheus) if "prometheus" in config.sinks else None,
        clusters,
    )


class OpenSinks:
    """A worker for each."""

    def __init__(
        self,
        config: Config,
        prepared: Prepared,
        folder: Path,
        handed_on: Mapping[str, int],
        waiting: Mapping[int, float],
    ) -> None:
        """``folder`` is for the files of the sinks.

        ``handed_on`` has, by sink, the last interval that it has had; ``waiting`` the intervals
        that come first, with the Unix time at which they ended.
        """

        def open_sink(name: str) -> Worker:
            had = handed_on.get(name, 0)
            if name == "zabbix":
                return open_zabbix(config, folder, prepared.clusters, Again(had, waiting))
            if prepared.listener is not None and name == "prometheus":
                return SinkWorker(PrometheusSink(prepared.listener))  # it shows the last one again
            return SinkWorker(make_console_sink(), had)

        self._workers = {name: open_sink(name) for name in dict.fromkeys(config.sinks)}

    @property
    def are_gone(self) -> bool:
        """Nobody takes anything any more."""
        return all(worker.is_gone for worker in self._workers.values())

    @property
    def are_on_disk(self) -> bool:
        """Does everything outlast a restart that is to?"""
        return all(worker.is_on_disk for worker in self._workers.values())

    @property
    def handed_on(self) -> dict[str, int]:
        """By sink: the number of the last interval that it has handed on."""
        return {name: worker.handed_on for name, worker in self._workers.items()}

    @property
    def done(self) -> int:
        """The number of the last interval that no sink would miss if all began anew."""
        return min(worker.done for worker in self._workers.values())

    def put(self, samples: Samples) -> None:
        """Give the samples to each; never waits."""
        for worker in self._workers.values():
            worker.put(samples)

    def healths(self) -> tuple[SinkHealth, ...]:
        """The tallies of all."""
        return tuple(tally for worker in self._workers.values() for tally in worker.healths())

    def stop(self) -> None:
        """The last call: deliver what is queued, for a few seconds."""
        for worker in self._workers.values():
            worker.stop(SINK_STOP_SECONDS)

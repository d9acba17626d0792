"""The configured sinks: what needs root first, the rest as another user; all stopped together.

Of their modules only those that are used are imported, since each takes some megabytes, and while
the process is still root, since the other user may not be able to read them.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nfszbx.health import SinkHealth
from nfszbx.samples import Samples
from nfszbx.sinks.base import Again, Worker
from nfszbx.sinks.worker import SinkWorker

if TYPE_CHECKING:
    from nfszbx.config import Config

SINK_STOP_SECONDS = 5.0

Opener = Callable[[Path, Again], Worker]
"""Opens a sink that is prepared: with a folder for its files, and what comes to it again."""


def prepare_sinks(config: "Config") -> dict[str, Opener]:
    """By name, with what they have of root: a port that may be a low one, and keys from files.

    Without a byte to or from anybody, and without a thread. Raises :class:`SinkStartError` and
    :class:`ConfigurationError`.
    """
    return {name: _PREPARE[name](config) for name in dict.fromkeys(config.sinks)}


def _prepare_console(_: "Config") -> Opener:
    from nfszbx.sinks.console import make_console_sink  # noqa: PLC0415  see above

    return lambda _, again: SinkWorker(make_console_sink(), again.handed_on)


def _prepare_prometheus(config: "Config") -> Opener:
    from nfszbx.sinks.prometheus import PrometheusSink, listen  # noqa: PLC0415  see above

    listener = listen(config.prometheus)
    # It shows the last interval again.
    return lambda *_: SinkWorker(PrometheusSink(listener))


def _prepare_zabbix(config: "Config") -> Opener:
    from nfszbx.sinks.zabbix import make_clusters, open_zabbix  # noqa: PLC0415  see above

    clusters = make_clusters(config.zabbix)
    return lambda folder, again: open_zabbix(config, folder, clusters, again)


_PREPARE: Mapping[str, Callable[["Config"], Opener]] = {
    "console": _prepare_console,
    "prometheus": _prepare_prometheus,
    "zabbix": _prepare_zabbix,
}


class OpenSinks:
    """A worker for each."""

    def __init__(
        self, prepared: Mapping[str, Opener], folder: Path, again: Callable[[str], Again]
    ) -> None:
        """``folder`` is for the files of the sinks; ``again`` answers for each of them."""
        self._workers = {
            name: open_sink(folder, again(name)) for name, open_sink in prepared.items()
        }

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

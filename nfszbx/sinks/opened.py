"""The configured sinks: opened together, replaced when their settings change, stopped together."""

import logging
from collections.abc import Iterable

from nfszbx.config import Config
from nfszbx.errors import NfszbxError
from nfszbx.health import SinkHealth
from nfszbx.samples import Samples
from nfszbx.sinks.base import Worker
from nfszbx.sinks.console import make_console_sink
from nfszbx.sinks.prometheus import PrometheusSink
from nfszbx.sinks.worker import SinkWorker
from nfszbx.sinks.zabbix import open_zabbix
from nfszbx.state import StateDirectory

SINK_STOP_SECONDS = 5.0
STOP_SECONDS = 15.0
"""What another nfszbx may take to end, with its child, its sinks and its disk."""


_log = logging.getLogger(__name__)


class OpenSinks:
    """A worker for each."""

    def __init__(self, config: Config, state: StateDirectory) -> None:
        """Raises :class:`SinkStartError` and :class:`ConfigurationError`, with none left open."""
        self._config = config
        self._state = state
        self._workers = self._open(config, config.sinks)
        self._is_broken = False

    @property
    def are_gone(self) -> bool:
        """Nobody takes anything any more."""
        return self._is_broken or all(worker.is_gone for worker in self._workers.values())

    @property
    def are_on_disk(self) -> bool:
        """Does everything outlast a restart that is to?"""
        return all(worker.is_on_disk for worker in self._workers.values())

    def put(self, samples: Samples) -> None:
        """Give the samples to each; never waits."""
        for worker in self._workers.values():
            worker.put(samples)

    def healths(self) -> tuple[SinkHealth, ...]:
        """The tallies of all."""
        return tuple(tally for worker in self._workers.values() for tally in worker.healths())

    def replace(self, config: Config, to_close: Iterable[str], to_open: Iterable[str]) -> None:
        """Go on with these; with the old ones, opened anew, where one cannot be opened.

        Raises like the constructor. What is queued is delivered before, for a few seconds.
        """
        closed = tuple(to_close)
        for name in closed:
            self._workers.pop(name).stop(SINK_STOP_SECONDS)
        try:
            self._workers |= self._open(config, to_open)
        except NfszbxError:
            self._open_again(closed)
            raise
        self._config = config

    def stop(self) -> None:
        """The last call: deliver what is queued, for a few seconds."""
        for worker in self._workers.values():
            worker.stop(SINK_STOP_SECONDS)

    def _open_again(self, names: Iterable[str]) -> None:
        """What was closed for nothing; without it nfszbx ends, and a service begins anew."""
        try:
            self._workers |= self._open(self._config, names)
        except NfszbxError:
            _log.exception("a sink that was closed cannot be opened again")
            self._is_broken = True

    def _open(self, config: Config, names: Iterable[str]) -> dict[str, Worker]:
        names = tuple(dict.fromkeys(names))
        if "zabbix" in names:
            self._state.require(STOP_SECONDS)
        workers: dict[str, Worker] = {}
        try:
            for name in names:
                match name:
                    case "console":
                        workers[name] = SinkWorker(make_console_sink())
                    case "prometheus":
                        workers[name] = SinkWorker(PrometheusSink(config.prometheus))
                    case "zabbix":
                        workers[name] = open_zabbix(config)
        except BaseException:
            for worker in workers.values():
                worker.stop(SINK_STOP_SECONDS)
            raise
        return workers

"""What Zabbix is told of NFS operations: sums, for things that neither come and go nor are many."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nfszbx.cadence import Roster
from nfszbx.document import round_value
from nfszbx.metric import Metric
from nfszbx.operation_sums import (
    CLIENT_RATES,
    EXPORT_RATES,
    OPERATION_RATES,
    Key,
    OperationSums,
    Row,
    add_rows,
    sum_operations,
)
from nfszbx.samples import Samples
from nfszbx.sinks.roster_file import read_roster, write_roster
from nfszbx.traffic import OTHER

if TYPE_CHECKING:
    from nfszbx.config import ZabbixConfig

MAX_OPERATIONS = 500
"""More than there are in all versions of NFS together."""
SECONDS_PER_DAY = 86_400


class _Table:
    """The rows of one kind: each that was shown stays, until it has been idle for long."""

    def __init__(
        self, path: Path, names: tuple[str, ...], rates: tuple[Metric, ...], roster: Roster
    ) -> None:
        self._path = path
        self._names = names
        self._rates = rates
        self._roster = roster
        self._others: tuple[Key, ...] = () if len(names) > 1 else ((OTHER,),)
        """Of operations none is left out."""

    def make_rows(
        self, sums: Mapping[Key, Row], unix_seconds: float, *, is_timed: bool
    ) -> list[dict[str, Any]]:
        """Those on the roster in the order of their names, and ``other``, which is always there."""
        rate = self._rates[0]
        active = [key for key, row in sums.items() if row.get(rate) and key[-1] != OTHER]
        active.sort(key=lambda key: (-sums[key][rate], key))
        self._roster.update(active, unix_seconds)
        idle: Row = dict.fromkeys(self._rates, 0) if is_timed else {}
        keys = (*sorted(self._roster.seen_unix_seconds), *self._others)
        shown = {key: dict(idle) for key in keys}
        for key, row in sums.items():
            for name in (key,) if key in shown else self._others:
                add_rows(shown[name], row)
        return [self._make_row(key, row) for key, row in shown.items()]

    def _make_row(self, key: Key, row: Row) -> dict[str, Any]:
        names = dict(zip(self._names, key, strict=True))
        return {"id": " ".join(key), **names, **_make_fields(row)}

    def write_down(self) -> None:
        """Raises OSError."""
        write_roster(self._path, self._roster.seen_unix_seconds)


class OperationsDocuments:
    """Makes the documents. Where exports or clients are no labels, all are ``other``."""

    def __init__(self, config: "ZabbixConfig", directory: Path) -> None:
        """With what an earlier run has shown, from files in the directory."""
        idle_seconds = config.client_retention_days * SECONDS_PER_DAY
        kinds = {
            "operations": (("version", "operation"), OPERATION_RATES, MAX_OPERATIONS),
            "exports": (("export",), EXPORT_RATES, config.max_exports),
            "clients": (("client",), CLIENT_RATES, config.max_clients),
        }
        self._tables = {}
        for name, (names, rates, max_rows) in kinds.items():
            path = directory / f"nfs_{name}.json"
            roster = Roster(max_rows, idle_seconds, read_roster(path))
            self._tables[name] = _Table(path, names, rates, roster)

    def make_document(self, samples: Samples) -> dict[str, Any] | None:
        """None when there is nothing new."""
        if samples.operations is None:
            return None
        sums = sum_operations(samples.operations)
        return {
            "time": round(samples.unix_seconds, 3),
            "nfs": _make_fields(sums.server),
            **self._make_lists(sums, samples.unix_seconds),
        }

    def _make_lists(self, sums: OperationSums, unix_seconds: float) -> dict[str, Any]:
        rows = {"operations": sums.operations, "exports": sums.exports, "clients": sums.clients}
        return {
            name: table.make_rows(rows[name], unix_seconds, is_timed=sums.is_timed)
            for name, table in self._tables.items()
        }

    def write_down(self) -> None:
        """Keep what has been shown. Raises OSError."""
        for table in self._tables.values():
            table.write_down()


def _make_fields(row: Row) -> dict[str, float]:
    return {metric.field: round_value(metric, value) for metric, value in row.items()}

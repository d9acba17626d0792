"""The items of NFS operations: of the server, each operation, each export and each client."""

from collections.abc import Mapping
from dataclasses import replace

from nfszbx import catalog_operations as catalog
from nfszbx.metric import Kind, Metric
from nfszbx.operation_sums import (
    CLIENT_RATES,
    EXPORT_RATES,
    LATENCIES,
    OF_CLIENTS,
    OF_EXPORTS,
    OPERATION_RATES,
    SERVER_NUMBERS,
    SERVER_RATES,
    UNCOUNTED,
)
from nfszbx.template.parts import Item, javascript, json_path
from nfszbx.template.triggers import TRIGGERS, make_latency_trigger
from nfszbx.zabbix_keys import OPERATIONS_KEY

COMPONENT = "nfs"
COUNTING_MAP = "nfszbx counting"

_MAP_FILL = """\
var nfs = JSON.parse(value);
return 100 * (nfs.map_entries || 0) / nfs.map_max_entries;"""
_TOP = """\
var rows = JSON.parse(value).filter(function (row) { return row.operations_per_second > 0; });
rows.sort(function (a, b) { return b.operations_per_second - a.operations_per_second; });
return rows.slice(0, 15).map(function (row) {
  return row.id + ': ' + row.operations_per_second.toFixed(1) + ' per second';
}).join('\\n') || 'nobody';"""

SHOWN = frozenset(
    {*SERVER_RATES, *SERVER_NUMBERS, *OPERATION_RATES, *LATENCIES, *OF_EXPORTS, *OF_CLIENTS}
)


def find_lost() -> list[Metric]:
    """Metrics without a place here. Counters and histograms by label need none.

    Zabbix is sent what is made of them.
    """
    return [m for m in catalog.METRICS if m not in SHOWN and m.kind in {Kind.RATE, Kind.GAUGE}]


def make_operation_items() -> list[Item]:
    """Of the whole server."""
    plain = [_make_item(m) for m in (*SERVER_RATES, *SERVER_NUMBERS, *UNCOUNTED)]
    fill = Item(
        "nfszbx.nfs.map_fill",
        "NFS: Fill of the map of requests",
        "Entries of what fits into the fullest of the kernel's maps of NFS requests.",
        # The part of the document that has this number, so that without it the value is left out.
        (json_path("$[?(@.map_max_entries > 0)].first()"), javascript(_MAP_FILL)),
        OPERATIONS_KEY,
        COMPONENT,
        unit="%",
        triggers=TRIGGERS["nfszbx.nfs.map_fill"],
    )
    top = Item(
        "nfszbx.nfs.clients.top",
        "NFS: Busiest clients",
        "The clients with the most NFS operations per second.",
        (json_path("$.clients"), javascript(_TOP)),
        OPERATIONS_KEY,
        COMPONENT,
        value_type="TEXT",
        history="1d",
    )
    return [*plain, fill, top]


def _make_item(metric: Metric) -> Item:
    key = f"nfszbx.nfs.{metric.field}"
    is_state = metric is catalog.OPERATIONS_UP
    return Item(
        key,
        f"NFS: {metric.title}",
        metric.help,
        (json_path(f"$.nfs.{metric.field}"),),
        OPERATIONS_KEY,
        COMPONENT,
        value_type="UNSIGNED" if is_state else "FLOAT",
        unit=metric.unit,
        value_map=COUNTING_MAP if is_state else "",
        triggers=TRIGGERS.get(key, ()),
    )


def make_operation_prototypes() -> list[Item]:
    """Of an operation in a version of NFS."""
    tags = {"version": "{#VERSION}", "operation": "{#OPERATION}"}
    items = [_make_prototype(m, "operation", "ID", tags) for m in (*OPERATION_RATES, *LATENCIES)]
    warning = _make_key("operation", catalog.REQUEST_P95, "ID")
    return [
        replace(item, triggers=(make_latency_trigger(item.key),)) if item.key == warning else item
        for item in items
    ]


def make_export_prototypes() -> list[Item]:
    """Of an export, by whichever client and operation."""
    tags = {"export": "{#EXPORT}"}
    return [_make_prototype(m, "export", "EXPORT", tags) for m in EXPORT_RATES]


def make_nfs_client_prototypes() -> list[Item]:
    """Of a client, where the user asks for them."""
    tags = {"client": "{#CLIENT}"}
    items = [_make_prototype(m, "client", "CLIENT", tags) for m in CLIENT_RATES]
    return [replace(item, is_discovered=False) for item in items]


def _make_prototype(metric: Metric, kind: str, macro: str, tags: Mapping[str, str]) -> Item:
    """``macro`` has the id of the row."""
    about = f"{{#{macro}}}" if macro == "ID" else f"{kind} {{#{macro}}}"
    return Item(
        _make_key(kind, metric, macro),
        f"NFS {about}: {metric.title}",
        metric.help,
        # Zabbix finds one equal value in its index, and anything else by a search.
        (json_path(f'$.{kind}s[?(@.id == "{{#{macro}}}")].{metric.field}.first()'),),
        OPERATIONS_KEY,
        COMPONENT,
        unit=metric.unit,
        tags=tags,
    )


def _make_key(kind: str, metric: Metric, macro: str) -> str:
    return f'nfszbx.nfs.{kind}.{metric.field}["{{#{macro}}}"]'

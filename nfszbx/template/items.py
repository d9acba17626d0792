"""Every item of the template: one for each metric of the catalogue, and what is made of them.

Nothing here depends on the value before, since values that waited in the spool come after newer
ones: no changes per second, no throttling. Counters are compared over a time by triggers.
"""

from dataclasses import replace

from nfszbx import catalog, catalog_operations, catalog_smb
from nfszbx.catalog import CLIENT_LABELS, FLOW_LABELS
from nfszbx.metric import Kind, Metric
from nfszbx.template.operation_items import find_lost
from nfszbx.template.parts import MULTIPLY_BY_100, Item, Step, javascript, json_path
from nfszbx.template.triggers import (
    TRIGGERS,
    make_drift_trigger,
    make_rate_trigger,
    make_share_trigger,
)
from nfszbx.zabbix_keys import CLIENTS_KEY, TOTALS_KEY

HEALTH, SERVICE, CLIENTS, CLIENT = "health", "service", "clients", "client"
MEASURING_MAP, YES_MAP = "nfszbx measuring", "nfszbx yes or no"
CHILD_STATE_MAP, SINK_STATE_MAP = "nfszbx state of bpftrace", "nfszbx state of a sink"

_SINK_SUM = """\
var found = JSON.parse(value), sum = 0;
Object.keys(found).forEach(function (name) {
  if (name.indexOf('zabbix') === 0) { sum += found[name]; }
});
return sum;"""
_WORST_SINK = """\
var found = JSON.parse(value), worst = 0;
Object.keys(found).forEach(function (name) {
  if (name.indexOf('zabbix') === 0) { worst = Math.max(worst, found[name]); }
});
return worst;"""
_FIRST_NAME = "return Object.keys(JSON.parse(value))[0];"
_MAP_FILL = """\
var health = JSON.parse(value);
return 100 * (health.map_entries || 0) / health.map_max_entries;"""
_ACTIVE = """\
return JSON.parse(value).filter(function (row) {
  return row.client !== 'other' && row.receive_bytes_per_second + row.transmit_bytes_per_second > 0;
}).length;"""
_TOP = """\
function speed(row) {
  return (row.receive_bytes_per_second || 0) + (row.transmit_bytes_per_second || 0);
}
function show(count) {
  var units = ['B', 'kB', 'MB', 'GB', 'TB'], unit = 0;
  while (count >= 1000 && unit < 4) { count /= 1000; unit += 1; }
  return count.toFixed(unit ? 1 : 0) + ' ' + units[unit] + '/s';
}
var rows = JSON.parse(value).filter(function (row) { return speed(row) > 0; });
rows.sort(function (a, b) { return speed(b) - speed(a); });
return rows.slice(0, 15).map(function (row) {
  return row.id + ': received ' + show(row.receive_bytes_per_second || 0)
    + ', sent ' + show(row.transmit_bytes_per_second || 0);
}).join('\\n') || 'nobody';"""


_PLACED = {
    catalog.RESTARTS,
    catalog.RECOVERED,
    catalog.BUILD_INFO,
    catalog.WAY_INFO,
    catalog.DRIFT,
}
"""Metrics with labels that have items of their own below."""
_VALUE_MAPS = {
    catalog.CHILD_UP: MEASURING_MAP,
    catalog.CHILD_STATE: CHILD_STATE_MAP,
    catalog.CRASH_LOOP: YES_MAP,
    catalog.STATE_KEPT: YES_MAP,
    catalog.SINK_STATE: SINK_STATE_MAP,
}
"""Metrics whose numbers stand for words."""


_METRICS = [
    metric
    for metric in catalog.METRICS
    if metric not in catalog_operations.METRICS and metric not in catalog_smb.METRICS
]
"""Those of the totals and of clients. Zabbix is not told who uses Samba: that comes and goes."""


def check_places() -> None:
    """Raises ValueError when the catalogue has a metric for which there is no place here."""
    known = {(), FLOW_LABELS, CLIENT_LABELS, ("sink",)}
    lost = [m.name for m in _METRICS if m.labels not in known and m not in _PLACED]
    lost += [metric.name for metric in find_lost()]
    if lost:
        raise ValueError(f"no place in the template for {', '.join(lost)}")


def _list_metrics(labels: tuple[str, ...]) -> list[Metric]:
    return [metric for metric in _METRICS if metric.labels == labels]


def _make_item(metric: Metric, *steps: Step) -> Item:
    """What nfszbx says of itself, as a number."""
    key = f"nfszbx.{metric.field}"
    return Item(
        key,
        f"nfszbx: {metric.title}",
        metric.help,
        steps or (json_path(f"$.health.{metric.field}"),),
        TOTALS_KEY,
        HEALTH,
        value_type="UNSIGNED" if metric in _VALUE_MAPS else "FLOAT",
        unit=metric.unit,
        value_map=_VALUE_MAPS.get(metric, ""),
        triggers=TRIGGERS.get(key, ()),
    )


def make_health_items() -> list[Item]:
    """What nfszbx says about itself."""
    version = _make_item(
        catalog.BUILD_INFO, json_path("$.health.build_info"), javascript(_FIRST_NAME)
    )
    ways = [
        replace(
            _make_item(
                catalog.WAY_INFO, json_path(f"$.health.way_info.{way}"), javascript(_FIRST_NAME)
            ),
            key=f"nfszbx.way[{way}]",
            name=f"nfszbx: {catalog.WAY_INFO.title}, {way}",
            description="How the bytes of this direction are counted; 'nfszbx check' tells why.",
            value_type="CHAR",
        )
        for way in ("receive", "transmit")
    ]
    complete = Item(
        "nfszbx.complete",
        "nfszbx: Interval is complete",
        "No when traffic of the interval was missed because bpftrace did not run.",
        (json_path("$.complete"), Step("BOOL_TO_DECIMAL", ("",))),
        TOTALS_KEY,
        HEALTH,
        value_type="UNSIGNED",
        value_map=YES_MAP,
    )
    fill = Item(
        "nfszbx.map_fill",
        "nfszbx: Fill of the map of clients",
        "Entries of what fits; when it is full, new clients are part of 'other'.",
        # The part of the document that has this number, so that without it the value is left out.
        (json_path("$[?(@.map_max_entries > 0)].first()"), javascript(_MAP_FILL)),
        TOTALS_KEY,
        HEALTH,
        unit="%",
        triggers=TRIGGERS["nfszbx.map_fill"],
    )
    plain = [_make_item(metric) for metric in _list_metrics(())]
    restarts = _make_item(catalog.RESTARTS, json_path(f"$.health.{catalog.RESTARTS.field}.*.sum()"))
    recovered = _make_item(
        catalog.RECOVERED, json_path(f"$.health.{catalog.RECOVERED.field}.*.*.sum()")
    )
    sinks = [
        _make_item(
            metric,
            json_path(f"$.health.{metric.field}"),
            javascript(_WORST_SINK if metric is catalog.SINK_STATE else _SINK_SUM),
        )
        for metric in _list_metrics(("sink",))
    ]
    version = replace(version, value_type="CHAR", description="Version of nfszbx.")
    return [version, complete, *ways, *plain, restarts, recovered, fill, *sinks]


def make_client_sums() -> list[Item]:
    """Of all clients together, at their pace."""
    sums = [
        Item(
            f"nfszbx.clients.{metric.field}",
            f"All clients: {metric.title}",
            "The sum over all clients and services, in the documents of the clients.",
            (json_path(f"$.clients[*].{metric.field}.sum()"),),
            CLIENTS_KEY,
            CLIENTS,
            unit=metric.unit,
        )
        for metric in _list_metrics(CLIENT_LABELS)
        if metric.kind is Kind.RATE
    ]
    active = Item(
        "nfszbx.clients.active",
        "All clients: Active clients",
        "Clients, by service, that moved anything in the last interval; without 'other'.",
        (json_path("$.clients"), javascript(_ACTIVE)),
        CLIENTS_KEY,
        CLIENTS,
    )
    top = Item(
        "nfszbx.clients.top",
        "All clients: Busiest clients",
        "The clients that move the most, with the bytes per second that the server received from "
        "them and sent to them.",
        (json_path("$.clients"), javascript(_TOP)),
        CLIENTS_KEY,
        CLIENTS,
        value_type="TEXT",
        history="1d",
    )
    return [*sums, active, top]


def make_service_prototypes() -> list[Item]:
    """The totals of a service."""
    return [
        Item(
            f"nfszbx.service.{metric.field}[{{#SERVICE}}]",
            f"{{#SERVICE}}: {metric.title}",
            metric.help,
            (json_path(f"$.services.{{#SERVICE}}.{metric.field}"),),
            TOTALS_KEY,
            SERVICE,
            unit=metric.unit,
            tags={"service": "{#SERVICE}"},
        )
        for metric in _list_metrics(FLOW_LABELS)
    ]


def make_drift_prototypes() -> list[Item]:
    """The drift of a service that is audited."""
    items = []
    for direction in ("receive", "transmit"):
        key = f"nfszbx.drift[{{#SERVICE}},{direction}]"
        items.append(
            Item(
                key,
                f"{{#SERVICE}}: {catalog.DRIFT.title}, {direction}",
                catalog.DRIFT.help,
                (
                    json_path(f"$.health.{catalog.DRIFT.field}.{{#SERVICE}}.{direction}"),
                    MULTIPLY_BY_100,
                ),
                TOTALS_KEY,
                HEALTH,
                unit="%",
                triggers=(make_drift_trigger(direction, key),),
                tags={"service": "{#SERVICE}"},
            )
        )
    return items


def make_client_prototypes() -> list[Item]:
    """What one client of one service moves; the counters only where the user asks for them."""
    items = []
    for metric in _list_metrics(CLIENT_LABELS):
        key = f'nfszbx.client.{metric.field}["{{#ID}}"]'
        is_rate = metric.kind is Kind.RATE
        triggers = (
            make_rate_trigger(metric.title, key),
            make_share_trigger(metric.title, key, f"nfszbx.clients.{metric.field}"),
        )
        items.append(
            Item(
                key,
                f"{{#ID}}: {metric.title}",
                metric.help,
                # Zabbix finds one equal value in its index, and anything else by a search.
                (json_path(f'$.clients[?(@.id == "{{#ID}}")].{metric.field}.first()'),),
                CLIENTS_KEY,
                CLIENT,
                unit=metric.unit,
                is_discovered=is_rate,
                triggers=triggers if is_rate else (),
                tags={"service": "{#SERVICE}", "client": "{#CLIENT}"},
            )
        )
    return items

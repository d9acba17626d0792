"""Puts the template together, for one version of Zabbix."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import yaml

from nfszbx.child.states import ChildState
from nfszbx.sinks.states import SinkState
from nfszbx.template.dashboards import make_dashboards
from nfszbx.template.items import (
    CHILD_STATE_MAP,
    MEASURING_MAP,
    SINK_STATE_MAP,
    YES_MAP,
    check_places,
    make_client_prototypes,
    make_client_sums,
    make_drift_prototypes,
    make_health_items,
    make_service_prototypes,
)
from nfszbx.template.parts import (
    TEMPLATE,
    Item,
    Node,
    Step,
    Version,
    javascript,
    json_path,
    make_delay,
    make_graph,
    make_uuid,
)
from nfszbx.template.triggers import MACROS
from nfszbx.zabbix_keys import CLIENTS_KEY, TOTALS_KEY


class _Dumper(yaml.SafeDumper):
    """Writes scripts as they are read, line by line."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)

GROUP, GROUP_UUID = "Templates/Applications", "a571c0d144b14fd4a87a9d9b2aa9fcd6"
"""Zabbix' own group."""
KEPT_DAYS = 7
DESCRIPTION = """\
Bytes per second of a Linux file server (knfsd, Samba, ksmbd), in total and for each client, as \
nfszbx measures and sends them: nfszbx run --sink zabbix"""

_SERVICES = """\
return JSON.stringify(JSON.parse(value).map(function (name) {
  return {'{#SERVICE}': name};
}));"""
_CLIENTS = """\
return JSON.stringify(JSON.parse(value).map(function (row) {
  return {'{#ID}': row.id, '{#SERVICE}': row.id.split(' ')[0], '{#CLIENT}': row.client};
}));"""
_SERVICE_KEYS = "nfszbx.service.{}_bytes_per_second[{{#SERVICE}}]"
_CLIENT_KEYS = 'nfszbx.client.{}_bytes_per_second["{{#ID}}"]'


def render_template(version: Version) -> str:
    """The file that Zabbix imports."""
    text: str = yaml.dump(
        make_export(version), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000
    )
    return text


def make_export(version: Version) -> dict[str, Any]:
    """The same as an object, as the API takes it in JSON."""
    check_places()
    is_old = version is Version.V6_0
    export: dict[str, Any] = {"version": version.value}
    if is_old:
        export["date"] = "2026-01-01T00:00:00Z"  # required, and of no use
    export["groups" if is_old else "template_groups"] = [{"uuid": GROUP_UUID, "name": GROUP}]
    export["templates"] = [_make_template(version)]
    return {"zabbix_export": export}


def _make_template(version: Version) -> Node:
    vendor = {} if version is Version.V6_0 else {"vendor": {"name": "nfszbx", "version": "7.0-0"}}
    items = [*make_health_items(), *make_client_sums()]
    return {
        "uuid": make_uuid("template"),
        "template": TEMPLATE,
        "name": TEMPLATE,
        "description": DESCRIPTION,
        **vendor,
        "groups": [{"name": GROUP}],
        "items": [
            _make_master(version, TOTALS_KEY, "nfszbx: Totals", "services and health"),
            _make_master(version, CLIENTS_KEY, "nfszbx: Clients", "rows of clients"),
            *(item.export(version, triggers_as="triggers") for item in items),
        ],
        "discovery_rules": [
            _make_services(version),
            _make_audits(version),
            _make_clients(version),
        ],
        "tags": [{"tag": "class", "value": "software"}, {"tag": "target", "value": "nfszbx"}],
        "macros": [
            {"macro": macro, "value": value, "description": text}
            for macro, (value, text) in MACROS.items()
        ],
        "dashboards": make_dashboards(version),
        "valuemaps": [
            _make_value_map(MEASURING_MAP, {"0": "Down", "1": "Up"}),
            _make_value_map(YES_MAP, {"0": "No", "1": "Yes"}),
            _make_value_map(CHILD_STATE_MAP, _name_states(ChildState)),
            _make_value_map(SINK_STATE_MAP, _name_states(SinkState)),
        ],
    }


def _make_master(version: Version, key: str, name: str, content: str) -> Node:
    return {
        "uuid": make_uuid("item", key),
        "name": name,
        "type": "TRAP",
        "key": key,
        **make_delay(version),
        "history": "0",
        "trends": "0",
        "value_type": "TEXT",
        "description": f"A document of nfszbx: {content}. Everything else depends on it.",
        "tags": [{"tag": "component", "value": "raw"}],
    }


def _make_services(version: Version) -> Node:
    rule = _Rule(
        "nfszbx.discovery.services",
        "Services",
        "Services and transports that are measured.",
        TOTALS_KEY,
        (json_path("$.services.*~"), javascript(_SERVICES)),
        make_service_prototypes(),
    ).export(version)
    rule["graph_prototypes"] = [
        make_graph("graph", "{#SERVICE}: Traffic", _list_rate_keys(_SERVICE_KEYS))
    ]
    return rule


def _make_audits(version: Version) -> Node:
    return _Rule(
        "nfszbx.discovery.audits",
        "Audited services",
        "Services whose counts are compared with the kernel's own counters.",
        TOTALS_KEY,
        (json_path("$.health.drift_ratio.*~"), javascript(_SERVICES)),
        make_drift_prototypes(),
    ).export(version)


def _make_clients(version: Version) -> Node:
    rule = _Rule(
        "nfszbx.discovery.clients",
        "Clients",
        "Clients by service, and 'other' for all that have no row of their own. How many there "
        "are is bounded by zabbix.max_clients in the configuration of nfszbx.",
        CLIENTS_KEY,
        (json_path("$.clients"), javascript(_CLIENTS)),
        make_client_prototypes(),
    ).export(version)
    rule["filter"]["conditions"] += [
        _make_condition("{#CLIENT}", "{$NFSZBX.CLIENT.MATCHES}", "MATCHES_REGEX", "C"),
        _make_condition("{#CLIENT}", "{$NFSZBX.CLIENT.NOT_MATCHES}", "NOT_MATCHES_REGEX", "D"),
    ]
    rule["graph_prototypes"] = [
        make_graph("graph", "{#ID}: Traffic", _list_rate_keys(_CLIENT_KEYS))
    ]
    return rule


def _list_rate_keys(pattern: str) -> list[str]:
    return [pattern.format(direction) for direction in ("receive", "transmit")]


@dataclass(frozen=True)
class _Rule:
    """A discovery rule that depends on a master item."""

    key: str
    name: str
    description: str
    master: str
    steps: tuple[Step, ...]
    """How the list is made of the master's value."""
    prototypes: list[Item]

    def export(self, version: Version) -> Node:
        """The rule in the format, filtered by service."""
        lifetime: Node = {"lifetime": f"{KEPT_DAYS}d"}
        if version is not Version.V6_0:
            lifetime["enabled_lifetime_type"] = "DISABLE_NEVER"
        matches, not_matches = "{$NFSZBX.SERVICE.MATCHES}", "{$NFSZBX.SERVICE.NOT_MATCHES}"
        return {
            "uuid": make_uuid("rule", self.key),
            "name": self.name,
            "type": "DEPENDENT",
            "key": self.key,
            **make_delay(version),
            "filter": {
                "evaltype": "AND",
                "conditions": [
                    _make_condition("{#SERVICE}", matches, "MATCHES_REGEX", "A"),
                    _make_condition("{#SERVICE}", not_matches, "NOT_MATCHES_REGEX", "B"),
                ],
            },
            **lifetime,
            "description": self.description,
            "item_prototypes": [
                item.export(version, triggers_as="trigger_prototypes") for item in self.prototypes
            ],
            "master_item": {"key": self.master},
            "preprocessing": [
                *(step.export() for step in self.steps),
                {"type": "DISCARD_UNCHANGED_HEARTBEAT", "parameters": ["1h"]},
            ],
        }


def _make_condition(macro: str, value: str, operator: str, letter: str) -> Node:
    return {"macro": macro, "value": value, "operator": operator, "formulaid": letter}


def _name_states(states: Iterable[IntEnum]) -> dict[str, str]:
    return {str(state.value): state.name.replace("_", " ").capitalize() for state in states}


def _make_value_map(name: str, mappings: dict[str, str]) -> Node:
    return {
        "uuid": make_uuid("valuemap", name),
        "name": name,
        "mappings": [{"value": value, "newvalue": text} for value, text in mappings.items()],
    }

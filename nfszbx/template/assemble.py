"""Puts the template together, for one version of Zabbix."""

from collections.abc import Iterable
from enum import IntEnum
from typing import Any

import yaml

from nfszbx.child.states import ChildState
from nfszbx.sinks.states import SinkState
from nfszbx.template.dashboards import make_dashboards
from nfszbx.template.discovery import make_rules
from nfszbx.template.items import (
    CHILD_STATE_MAP,
    MEASURING_MAP,
    SINK_STATE_MAP,
    YES_MAP,
    check_places,
    make_client_sums,
    make_health_items,
)
from nfszbx.template.operation_items import COUNTING_MAP, make_operation_items
from nfszbx.template.parts import (
    TEMPLATE,
    Node,
    Version,
    make_delay,
    make_uuid,
)
from nfszbx.template.triggers import MACROS
from nfszbx.zabbix_keys import CLIENTS_KEY, OPERATIONS_KEY, TOTALS_KEY


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
DESCRIPTION = """\
Bytes per second of a Linux file server (knfsd, Samba, ksmbd), in total and for each client, and \
what is done by NFS on which export, as nfszbx measures and sends them: \
nfszbx run --sink zabbix"""


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
    items = [*make_health_items(), *make_client_sums(), *make_operation_items()]
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
            _make_master(version, OPERATIONS_KEY, "nfszbx: NFS operations", "NFS operations"),
            *(item.export(version, triggers_as="triggers") for item in items),
        ],
        "discovery_rules": make_rules(version),
        "tags": [{"tag": "class", "value": "software"}, {"tag": "target", "value": "nfszbx"}],
        "macros": [
            {"macro": macro, "value": value, "description": text}
            for macro, (value, text) in MACROS.items()
        ],
        "dashboards": make_dashboards(version),
        "valuemaps": [
            _make_value_map(MEASURING_MAP, {"0": "Down", "1": "Up"}),
            _make_value_map(COUNTING_MAP, {"0": "Down", "1": "Up"}),
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


def _name_states(states: Iterable[IntEnum]) -> dict[str, str]:
    return {str(state.value): state.name.replace("_", " ").capitalize() for state in states}


def _make_value_map(name: str, mappings: dict[str, str]) -> Node:
    return {
        "uuid": make_uuid("valuemap", name),
        "name": name,
        "mappings": [{"value": value, "newvalue": text} for value, text in mappings.items()],
    }

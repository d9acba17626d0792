"""What is found by itself: services, clients, NFS operations and exports, each with its items."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nfszbx.template.items import (
    make_client_prototypes,
    make_drift_prototypes,
    make_service_prototypes,
)
from nfszbx.template.operation_items import (
    make_export_prototypes,
    make_nfs_client_prototypes,
    make_operation_prototypes,
)
from nfszbx.template.parts import (
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
from nfszbx.zabbix_keys import CLIENTS_KEY, OPERATIONS_KEY, TOTALS_KEY

KEPT_DAYS = 7

_SERVICES = """\
return JSON.stringify(JSON.parse(value).map(function (name) {
  return {'{#SERVICE}': name};
}));"""
_CLIENTS = """\
return JSON.stringify(JSON.parse(value).map(function (row) {
  return {'{#ID}': row.id, '{#SERVICE}': row.id.split(' ')[0], '{#CLIENT}': row.client};
}));"""
_OPERATIONS = """\
return JSON.stringify(JSON.parse(value).map(function (row) {
  return {'{#ID}': row.id, '{#VERSION}': row.version, '{#OPERATION}': row.operation};
}));"""
_EXPORTS = """\
return JSON.stringify(JSON.parse(value).map(function (row) {
  return {'{#EXPORT}': row.export};
}));"""
_NFS_CLIENTS = """\
return JSON.stringify(JSON.parse(value).map(function (row) {
  return {'{#CLIENT}': row.client};
}));"""
_TRAFFIC = ("receive_bytes_per_second", "transmit_bytes_per_second")


@dataclass(frozen=True)
class _Rule:
    """A discovery rule that depends on a master item."""

    name: str
    key: str
    description: str
    master: str
    steps: tuple[Step, ...]
    """How the list is made of the master's value."""
    prototypes: list[Item]
    filters: tuple[str, ...]
    """Macros of the rule that the user can filter by, without their marks."""
    graphs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Keys of items by the name of the graph that shows them."""

    def export(self, version: Version) -> Node:
        """The rule in the format."""
        lifetime: Node = {"lifetime": f"{KEPT_DAYS}d"}
        if version is not Version.V6_0:
            lifetime["enabled_lifetime_type"] = "DISABLE_NEVER"
        conditions = [
            (f"{{#{name}}}", f"{{$NFSZBX.{name}.{kind}}}", f"{kind}_REGEX")
            for name in self.filters
            for kind in ("MATCHES", "NOT_MATCHES")
        ]
        node: Node = {
            "uuid": make_uuid("rule", self.key),
            "name": self.name,
            "type": "DEPENDENT",
            "key": self.key,
            **make_delay(version),
            "filter": {
                "evaltype": "AND",
                "conditions": [
                    {"macro": macro, "value": value, "operator": operator, "formulaid": letter}
                    for letter, (macro, value, operator) in zip("ABCD", conditions, strict=False)
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
        if self.graphs:
            node["graph_prototypes"] = [
                make_graph("graph", name, keys) for name, keys in self.graphs.items()
            ]
        return node


def make_rules(version: Version) -> list[Node]:
    """All rules in the format."""
    return [rule.export(version) for rule in (*_make_traffic_rules(), *_make_operation_rules())]


def _make_traffic_rules() -> list[_Rule]:
    return [
        _Rule(
            "Services",
            "nfszbx.discovery.services",
            "Services and transports that are measured.",
            TOTALS_KEY,
            (json_path("$.services.*~"), javascript(_SERVICES)),
            make_service_prototypes(),
            ("SERVICE",),
            {"{#SERVICE}: Traffic": [f"nfszbx.service.{rate}[{{#SERVICE}}]" for rate in _TRAFFIC]},
        ),
        _Rule(
            "Audited services",
            "nfszbx.discovery.audits",
            "Services whose counts are compared with the kernel's own counters.",
            TOTALS_KEY,
            (json_path("$.health.drift_ratio.*~"), javascript(_SERVICES)),
            make_drift_prototypes(),
            ("SERVICE",),
        ),
        _Rule(
            "Clients",
            "nfszbx.discovery.clients",
            "Clients by service, and 'other' for all that have no row of their own. How many there "
            "are is bounded by zabbix.max_clients in the configuration of nfszbx.",
            CLIENTS_KEY,
            (json_path("$.clients"), javascript(_CLIENTS)),
            make_client_prototypes(),
            ("SERVICE", "CLIENT"),
            {"{#ID}: Traffic": [f'nfszbx.client.{rate}["{{#ID}}"]' for rate in _TRAFFIC]},
        ),
    ]


def _make_operation_rules() -> list[_Rule]:
    operation, export = 'nfszbx.nfs.operation.{}["{{#ID}}"]', 'nfszbx.nfs.export.{}["{{#EXPORT}}"]'
    return [
        _Rule(
            "NFS operations",
            "nfszbx.discovery.operations",
            "Operations of each version of NFS that clients have asked for.",
            OPERATIONS_KEY,
            (json_path("$.operations"), javascript(_OPERATIONS)),
            make_operation_prototypes(),
            ("OPERATION",),
            {
                "NFS {#ID}: Operations": [
                    operation.format(f"{what}_per_second") for what in ("operations", "errors")
                ],
                "NFS {#ID}: Time of requests": [
                    operation.format(f"request_{part}_seconds") for part in ("p95", "p50")
                ],
            },
        ),
        _Rule(
            "NFS exports",
            "nfszbx.discovery.exports",
            "Exported directories, and 'other' for all that have no row of their own. How many "
            "there are is bounded by zabbix.max_exports in the configuration of nfszbx.",
            OPERATIONS_KEY,
            (json_path("$.exports"), javascript(_EXPORTS)),
            make_export_prototypes(),
            ("EXPORT",),
            {
                "NFS export {#EXPORT}: Bytes": [
                    export.format(f"{what}_bytes_per_second") for what in ("read", "write")
                ],
                "NFS export {#EXPORT}: Operations": [export.format("operations_per_second")],
            },
        ),
        _Rule(
            "NFS clients",
            "nfszbx.discovery.nfs_clients",
            "Clients with their NFS operations, and 'other'; zabbix.max_clients is their bound. "
            "The items are made only where the prototype is set to be discovered.",
            OPERATIONS_KEY,
            (json_path("$.clients"), javascript(_NFS_CLIENTS)),
            make_nfs_client_prototypes(),
            ("CLIENT",),
        ),
    ]

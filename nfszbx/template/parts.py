"""The building blocks of a template, as Zabbix' export format has them.

The format is described in Zabbix' manual ("Template export"); what 6.0 and 7.0 need differently is
told apart here alone.
"""

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from nfszbx.metric import Unit

TEMPLATE = "Linux file server by nfszbx"
HISTORY = "7d"

Node = dict[str, Any]


class Version(StrEnum):
    """The versions of Zabbix that files are made for; each imports into all later ones."""

    V6_0 = "6.0"
    V7_0 = "7.0"


def make_uuid(*names: str) -> str:
    """A version 4 UUID, always the same for the same names: an import then updates."""
    digest = hashlib.sha256("\0".join((TEMPLATE, *names)).encode()).digest()
    return uuid.UUID(bytes=digest[:16], version=4).hex


@dataclass(frozen=True)
class Step:
    """A step of preprocessing."""

    kind: str
    parameters: tuple[str, ...]
    discards: bool = False
    """When the step fails, the value is discarded rather than the item made unsupported."""

    def export(self) -> Node:
        """The step in the format."""
        node: Node = {"type": self.kind, "parameters": list(self.parameters)}
        if self.discards:
            node["error_handler"] = "DISCARD_VALUE"
        return node


def json_path(path: str) -> Step:
    """Picks a value; one that is not there is discarded."""
    return Step("JSONPATH", (path,), discards=True)


def javascript(code: str) -> Step:
    """Computes a value. A script that fails makes the item unsupported: what it needs is there."""
    return Step("JAVASCRIPT", (code,))


MULTIPLY_BY_100 = Step("MULTIPLIER", ("100",))


@dataclass(frozen=True)
class Trigger:
    """A trigger, or the prototype of one."""

    name: str
    expression: str
    priority: str
    description: str
    event_name: str = ""
    operational_data: str = ""
    is_enabled: bool = True
    is_closed_by_hand: bool = False
    depends_on: "Trigger | None" = None
    scope: str = "availability"

    def export(self) -> Node:
        """The trigger in the format."""
        node: Node = {
            "uuid": make_uuid("trigger", self.name),
            "expression": self.expression,
        }
        if self.is_closed_by_hand:  # and by nothing else
            node["recovery_mode"] = "NONE"
        node["name"] = self.name
        if self.event_name:
            node["event_name"] = self.event_name
        if self.operational_data:
            node["opdata"] = self.operational_data
        if not self.is_enabled:
            node["status"] = "DISABLED"
        node |= {"priority": self.priority, "description": self.description}
        if self.is_closed_by_hand:
            node["manual_close"] = "YES"
        if self.depends_on:
            above = self.depends_on
            node["dependencies"] = [{"name": above.name, "expression": above.expression}]
        node["tags"] = [{"tag": "scope", "value": self.scope}]
        return node


@dataclass(frozen=True)
class Item:
    """An item that depends on a master item, or the prototype of one."""

    key: str
    name: str
    description: str
    steps: tuple[Step, ...]
    master: str
    component: str
    value_type: str = "FLOAT"
    unit: Unit | str = Unit.NONE
    value_map: str = ""
    history: str = HISTORY
    is_discovered: bool = True
    """False for a prototype whose items are made only where the user asks for them."""
    triggers: tuple[Trigger, ...] = field(default=())
    tags: Mapping[str, str] = field(default_factory=dict)

    def export(self, version: Version, *, triggers_as: str) -> Node:
        """``triggers_as`` is the name under which the format has triggers of this kind."""
        node: Node = {
            "uuid": make_uuid("item", self.key),
            "name": self.name,
            "type": "DEPENDENT",
            "key": self.key,
            **make_delay(version),
            "history": self.history,
        }
        if self.value_type in {"CHAR", "TEXT"}:
            node["trends"] = "0"
        node["value_type"] = self.value_type
        if self.unit:
            node["units"] = str(self.unit)
        node["description"] = self.description
        if not self.is_discovered:
            node["discover"] = "NO_DISCOVER"
        if self.value_map:
            node["valuemap"] = {"name": self.value_map}
        node["preprocessing"] = [step.export() for step in self.steps]
        node["master_item"] = {"key": self.master}
        tags = {"component": self.component, **self.tags}
        node["tags"] = [{"tag": name, "value": value} for name, value in tags.items()]
        if self.triggers:
            node[triggers_as] = [trigger.export() for trigger in self.triggers]
        return node


def make_delay(version: Version) -> Node:
    """6.0 wants to be told that such an item is never polled."""
    return {"delay": "0"} if version is Version.V6_0 else {}


def make_graph(kind: str, name: str, keys: Sequence[str]) -> Node:
    """A classic graph of up to two items: the first filled, the second a line."""
    styles = [("199C0D", "GRADIENT_LINE"), ("F63100", "BOLD_LINE")]
    return {
        "uuid": make_uuid(kind, name),
        "name": name,
        "graph_items": [
            {
                **({"sortorder": str(number)} if number else {}),
                "drawtype": drawtype,
                "color": color,
                "item": {"host": TEMPLATE, "key": key},
            }
            for number, (key, (color, drawtype)) in enumerate(zip(keys, styles, strict=False))
        ],
    }

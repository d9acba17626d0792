"""The template and the host in Zabbix, found and made through the API."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nfszbx.template.assemble import GROUP, render_template
from nfszbx.template.parts import TEMPLATE, Version
from nfszbx.zabbix.api import ZabbixApi

_RULES = (
    *("templates", "items", "discoveryRules", "triggers", "graphs"),
    *("templateDashboards", "valueMaps"),
)


TLS_VALUES = {"unencrypted": 1, "psk": 2, "cert": 4}
_MAX_NAMES, _MAX_SIMILAR = 20_000, 5


def choose_version(api: ZabbixApi) -> Version:
    """The newest file that the server can import."""
    return max(version for version in Version if _parse(version) <= api.version)


def import_template(api: ZabbixApi) -> None:
    """Make the template, or bring it up to date; what the user has added to it stays."""
    kind, rule = ("host", "groups") if api.version < (6, 2) else ("template", "template_groups")
    wanted = {"output": ["groupid"], "filter": {"name": GROUP}}
    # Whoever may not make groups may not even ask for it: role Admin.
    groups = () if api.call(f"{kind}group.get", wanted) else (rule,)
    rules: dict[str, dict[str, bool]] = {
        name: {"createMissing": True, "updateExisting": True} for name in (*_RULES, *groups)
    }
    source = render_template(choose_version(api))
    api.call("configuration.import", {"format": "yaml", "rules": rules, "source": source})


def find_template(api: ZabbixApi) -> str | None:
    """Its id."""
    found = api.call("template.get", {"output": ["templateid"], "filter": {"host": TEMPLATE}})
    return str(found[0]["templateid"]) if found else None


@dataclass(frozen=True)
class Host:
    """A host as Zabbix knows it."""

    id: str
    is_enabled: bool
    accepted_tls: int
    """A sum of what is in :data:`TLS_VALUES`: connections that its values may come over."""
    proxy: str
    """Name of the proxy or proxy group that monitors it; empty for the server itself."""
    has_template: bool


def find_host(api: ZabbixApi, name: str) -> Host | None:
    """The host of this name, which Zabbix compares with its capitals."""
    proxies = (
        ["proxy_hostid"] if api.version < (7, 0) else ["monitored_by", "proxyid", "proxy_groupid"]
    )
    found = api.call(
        "host.get",
        {
            "output": ["hostid", "status", "tls_accept", *proxies],
            "selectParentTemplates": ["host"],
            "filter": {"host": name},
        },
    )
    if not found:
        return None
    row = found[0]
    return Host(
        str(row["hostid"]),
        int(row["status"]) == 0,
        int(row["tls_accept"]),
        _name_proxy(api, row),
        any(template["host"] == TEMPLATE for template in row["parentTemplates"]),
    )


def find_similar_names(api: ZabbixApi, name: str) -> str:
    """Hosts that the user may have meant: similar, with other capitals, or with a domain."""
    found = api.call("host.get", {"output": ["host"], "limit": _MAX_NAMES})
    by_short_name: dict[str, list[str]] = {}
    for row in found:
        by_short_name.setdefault(row["host"].lower().partition(".")[0], []).append(row["host"])
    close = difflib.get_close_matches(name.lower().partition(".")[0], by_short_name, n=3)
    names = [host for short in close for host in sorted(by_short_name[short])]
    return ", ".join(f"'{host}'" for host in names[:_MAX_SIMILAR])


def create_host(
    api: ZabbixApi, name: str, group: str, template_id: str, encryption: Mapping[str, object]
) -> str:
    """A host without interfaces, in a group that is made when it is missing; its id."""
    groups = api.call("hostgroup.get", {"output": ["groupid"], "filter": {"name": group}})
    if not groups:
        groups = [
            {"groupid": group_id}
            for group_id in api.call("hostgroup.create", {"name": group})["groupids"]
        ]
    host = {
        "host": name,
        "groups": [{"groupid": groups[0]["groupid"]}],
        "templates": [{"templateid": template_id}],
        **encryption,
    }
    return str(api.call("host.create", host)["hostids"][0])


def link_template(api: ZabbixApi, host: Host, template_id: str) -> None:
    """Link it, beside those that the host has."""
    templates = [{"templateid": template_id}]
    api.call("host.massadd", {"hosts": [{"hostid": host.id}], "templates": templates})


def _name_proxy(api: ZabbixApi, row: dict[str, Any]) -> str:
    if api.version < (7, 0):
        kind, key, name = "proxy", row["proxy_hostid"], "host"
    else:
        kind, key, name = {
            "1": ("proxy", row["proxyid"], "name"),
            "2": ("proxygroup", row["proxy_groupid"], "name"),
        }.get(row["monitored_by"], ("proxy", "0", "name"))
    if key == "0":
        return ""
    parameter = "proxy_groupids" if kind == "proxygroup" else "proxyids"
    found = api.call(f"{kind}.get", {"output": [name], parameter: [key]})
    return str(found[0][name]) if found else f"number {key}"


def _parse(version: Version) -> tuple[int, ...]:
    return tuple(map(int, version.value.split(".")))

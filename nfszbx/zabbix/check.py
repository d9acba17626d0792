"""Why does Zabbix show nothing? Looks at every place where values can get lost."""

from collections.abc import Iterator
from dataclasses import dataclass

from nfszbx.config import ZabbixConfig
from nfszbx.errors import SinkUnavailableError, ZabbixError
from nfszbx.samples import NANOSECONDS_PER_SECOND
from nfszbx.sinks.zabbix import get_host_name, make_clusters
from nfszbx.sinks.zabbix_cluster import ZabbixCluster
from nfszbx.template.parts import TEMPLATE
from nfszbx.zabbix.api import ZabbixApi
from nfszbx.zabbix.host import TLS_VALUES, Host, find_host, find_similar_names
from nfszbx.zabbix.probe import make_probe, send_until_taken, wait_until_stored
from nfszbx.zabbix_keys import MASTER_KEYS, TOTALS_KEY

TAKEN_SECONDS = 3.0
STORED_SECONDS = 15.0
OTHER_ZABBIX = "zabbix.servers may belong to another Zabbix than zabbix.api.url"
_TRAPPER, _TEXT, _NOT_SUPPORTED = 2, 4, 1
_PUSH_SINCE = (7, 0)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    text: str
    hint: str = ""
    """What mends it; empty when it is all right."""


def check_zabbix(config: ZabbixConfig) -> Iterator[Finding]:
    """Looks at everything on the way, in the order in which a value passes it.

    Without a URL of the API, what only Zabbix' database knows is left out. Raises
    :class:`ConfigurationError` for certificates and keys, :class:`ZabbixError` when the API fails
    midway.
    """
    clusters = make_clusters(config)
    reached = []
    for cluster in clusters:
        try:
            cluster.probe()
        except SinkUnavailableError as error:
            yield Finding(f"{cluster.name}: {error}", _explain(str(error)))
        else:
            reached.append(cluster)
            yield Finding(f"{cluster.name} answers")
    api, host = None, None
    if config.api.url:
        try:
            api = ZabbixApi(config.api)
        except ZabbixError as error:
            yield Finding(str(error), error.hint)
    if api is not None:
        yield Finding(f"the API of Zabbix {'.'.join(map(str, api.version))} takes the token")
        host, findings = _check_host(api, config)
        yield from findings
    for cluster in reached:
        # Of several servers, only one has the API's database.
        yield _check_delivery(cluster, api if len(clusters) == 1 else None, host)
    if api is not None and host is not None:
        yield from _check_items(api, host)


def _explain(problem: str) -> str:
    if "refused" in problem:
        return "is the server running, and its trapper port right? (zabbix.servers, zabbix.port)"
    if "TLS" in problem:
        return (
            "zabbix.tls must fit the server: for psk the same identity and key as in the host's "
            "encryption settings, for cert an authority that both know; a server without TLS "
            "settings takes plain connections alone"
        )
    if "no answer" in problem or "timed out" in problem:
        return "a firewall in between, or a server that is overloaded"
    if "not known" in problem or "resolution" in problem:
        return "mend the name in zabbix.servers, or this machine's DNS"
    return "the log of the Zabbix server tells more"


def _check_host(api: ZabbixApi, config: ZabbixConfig) -> tuple[Host | None, list[Finding]]:
    name = get_host_name(config)
    host = find_host(api, name)
    if host is None:
        hint = "run nfszbx zabbix install, or set zabbix.host to the host that is meant"
        if similar := find_similar_names(api, name):
            hint += f"; Zabbix has {similar}"
        return None, [Finding(f"Zabbix shows no host '{name}' to this token", hint)]
    findings = [Finding(f"Zabbix knows the host '{name}'")]
    if not host.is_enabled:
        findings.append(Finding(f"the host '{name}' is disabled", "enable it in Zabbix"))
    if host.proxy:
        findings.append(
            Finding(f"the host is monitored by the proxy '{host.proxy}': values must go there")
        )
    if finding := check_encryption(host, config):
        findings.append(finding)
    if not host.has_template:
        findings.append(
            Finding(f"the host has not the template '{TEMPLATE}'", "run: nfszbx zabbix install")
        )
    return host, findings


def check_encryption(host: Host, config: ZabbixConfig) -> Finding | None:
    """What is wrong when the host does not take the connections that are set."""
    if host.accepted_tls & TLS_VALUES[config.tls.connect]:
        return None
    accepted = [name for name, value in TLS_VALUES.items() if host.accepted_tls & value]
    return Finding(
        f"the host takes connections of the kind {' or '.join(accepted)} alone, and "
        f"zabbix.tls.connect is {config.tls.connect}",
        "change one of them: the host's are under Encryption, Connections from host",
    )


def explain_proxy(host: Host) -> str:
    """What to do when the values of a host that a proxy monitors are refused.

    How often a proxy reads its configuration: ConfigFrequency in the manual of Zabbix 6.0,
    ProxyConfigFrequency in that of 6.4 and later.
    """
    return (
        f"set zabbix.servers to the proxy '{host.proxy}' (of a proxy group: to any member), which "
        "alone takes this host's values; a proxy before 6.4 learns of new items once an hour, or "
        "by: zabbix_proxy -R config_cache_reload"
    )


def _check_delivery(cluster: ZabbixCluster, api: ZabbixApi | None, host: Host | None) -> Finding:
    """Does a test value arrive?"""
    try:
        probe = send_until_taken(cluster, TAKEN_SECONDS)
    except SinkUnavailableError as error:
        return Finding(f"{cluster.name} has gone away: {error}", _explain(str(error)))
    if probe is None:
        return Finding(f"{cluster.name} refuses values", _find_reason(cluster, api, host))
    if api is None:
        return Finding(f"{cluster.name} takes values")
    if host is None:
        return Finding(
            f"{cluster.name} takes values, so it knows the host, but this token may not see it",
            f"give the token's user rights for the group of the host; or {OTHER_ZABBIX}",
        )
    version = wait_until_stored(api, host.id, probe, STORED_SECONDS)
    if version is None:
        return Finding(
            f"{cluster.name} takes values, but the API shows none",
            f"{OTHER_ZABBIX}; or the template's item nfszbx.build_info is disabled, or the "
            "server's history writer is far behind (Reports, System information)",
        )
    return Finding(f"{cluster.name} takes values and shows them: version {version}")


def _find_reason(cluster: ZabbixCluster, api: ZabbixApi | None, host: Host | None) -> str:
    """Of a refusal. Zabbix 7.0 and later can be asked; for others the usual ones are named."""
    if api is not None and host is None:
        return "first of all mend the host, as said above"
    if host is not None and host.has_template and host.proxy:
        return f"{explain_proxy(host)}; if it is set: {cluster.explain_refusal(TOTALS_KEY)}"
    if api is not None and api.version >= _PUSH_SINCE and host is not None:
        try:
            reason = _push(api, host)
        except ZabbixError:  # the token's user may not push
            return cluster.explain_refusal(TOTALS_KEY)
        if reason:
            return f"Zabbix says: {reason}"
        return (
            "the API takes the same value: the server has not yet read its new configuration "
            "(wait a minute), or the item's allowed hosts leave this machine out"
        )
    return cluster.explain_refusal(TOTALS_KEY)


def _push(api: ZabbixApi, host: Host) -> str:
    """What the server says to a test value that comes through the API; empty: it was taken."""
    probe = make_probe()
    items = api.call(
        "item.get",
        {"hostids": host.id, "filter": {"key_": TOTALS_KEY}, "output": ["itemid"]},
    )
    if not items:
        return f"the host has no item {TOTALS_KEY}"
    ns = probe.entry.unix_ns % NANOSECONDS_PER_SECOND
    value = {"itemid": items[0]["itemid"], "value": probe.entry.text}
    answer = api.call("history.push", [{**value, "clock": probe.clock, "ns": ns}])
    return str(answer["data"][0].get("error", ""))


def _check_items(api: ZabbixApi, host: Host) -> Iterator[Finding]:
    """The items that values are sent to, and what is made of them."""
    fields = ["key_", "type", "value_type", "status", "state", "error", "trapper_hosts"]
    items = api.call("item.get", {"hostids": host.id, "output": fields})
    by_key = {item["key_"]: item for item in items}
    for key in MASTER_KEYS:
        item = by_key.get(key)
        if item is None:
            yield Finding(f"the host has no item {key}", "run: nfszbx zabbix install")
        elif int(item["type"]) != _TRAPPER or int(item["value_type"]) != _TEXT:
            yield Finding(
                f"the item {key} is not of type Zabbix trapper and information text",
                "delete it and link the template",
            )
        elif int(item["status"]):
            yield Finding(f"the item {key} is disabled", "enable it in Zabbix")
        elif item["trapper_hosts"]:
            yield Finding(f"the item {key} takes values from {item['trapper_hosts']} alone")
    failing = [
        item
        for item in items
        if item["key_"].startswith("nfszbx.") and int(item["state"]) == _NOT_SUPPORTED
    ]
    for item in failing[:5]:
        yield Finding(
            f"Zabbix cannot use the values of {item['key_']}: {item['error']}",
            "import the template of this version: nfszbx zabbix install",
        )
    if items and not failing:
        yield Finding(f"all {len(items)} items of the host can use their values")

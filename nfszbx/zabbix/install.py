"""From a fresh Zabbix server to one that shows this machine: template, host, and a test value."""

from collections.abc import Callable

from nfszbx.config import ZabbixConfig, ZabbixTlsConfig
from nfszbx.errors import ConfigurationError, SinkUnavailableError, ZabbixError
from nfszbx.sinks.zabbix import get_host_name, make_clusters
from nfszbx.sinks.zabbix_cluster import ZabbixCluster
from nfszbx.sinks.zabbix_tls import read_key
from nfszbx.template.parts import TEMPLATE
from nfszbx.zabbix.api import ZabbixApi
from nfszbx.zabbix.check import OTHER_ZABBIX, check_encryption, explain_proxy
from nfszbx.zabbix.host import (
    TLS_VALUES,
    choose_version,
    create_host,
    find_host,
    find_similar_names,
    find_template,
    import_template,
    link_template,
)
from nfszbx.zabbix.probe import send_until_taken, wait_until_stored

TAKEN_SECONDS = 150.0
"""A server before 7.0 reads its configuration once a minute, and may need a while for it."""
STORED_SECONDS = 30.0
_CHECK = "find out why with: nfszbx zabbix check"


def install(config: ZabbixConfig, group: str, say: Callable[[str], object]) -> None:
    """Set everything up that is not there yet; what is there stays as it is.

    ``group`` is for a new host. Raises :class:`ZabbixError` and :class:`ConfigurationError`.
    """
    clusters = make_clusters(config)
    if len(clusters) > 1:
        raise ConfigurationError(
            "zabbix.servers has several, and the API belongs to one of them",
            "name that one with --zabbix-server, and install the others in the same way",
        )
    (cluster,) = clusters
    api = ZabbixApi(config.api)
    if config.tls.connect != "psk":  # the server takes a new host's key only when it has the host
        try:
            cluster.probe()
        except SinkUnavailableError as error:
            raise ZabbixError(f"{cluster.name} cannot be reached: {error}", _CHECK) from None
    name = get_host_name(config)
    import_template(api)
    say(f"template '{TEMPLATE}' for {choose_version(api)} is imported")
    template_id = find_template(api)
    if template_id is None:
        raise ZabbixError("the template cannot be seen", "the token's user must have rights for it")
    host = find_host(api, name)
    if host is None:
        if similar := find_similar_names(api, name):
            say(f"note: Zabbix has similar hosts: {similar}")
        host_id = create_host(api, name, group, template_id, _make_encryption(config.tls))
        say(f"host '{name}' is made, in the group '{group}'")
    else:
        if finding := check_encryption(host, config):
            raise ZabbixError(finding.text, finding.hint)
        host_id = host.id
        if host.has_template:
            say(f"host '{name}' has the template")
        else:
            link_template(api, host, template_id)
            say(f"host '{name}' has the template now")
    hint = explain_proxy(host) if host and host.proxy else f"{_CHECK}; {OTHER_ZABBIX}"
    _send_test_value(api, host_id, cluster, hint, say)


def _make_encryption(tls: ZabbixTlsConfig) -> dict[str, object]:
    """As a new host has it in Zabbix."""
    settings: dict[str, object] = {"tls_accept": TLS_VALUES[tls.connect]}
    if tls.connect == "psk":
        settings |= {"tls_psk_identity": tls.psk_identity, "tls_psk": read_key(tls).hex()}
    return settings


def _send_test_value(
    api: ZabbixApi, host_id: str, cluster: ZabbixCluster, hint: str, say: Callable[[str], object]
) -> None:
    say(f"{cluster.name}: waiting until it takes a test value, a minute at most as a rule")
    try:
        probe = send_until_taken(cluster, TAKEN_SECONDS)
    except SinkUnavailableError as error:
        raise ZabbixError(f"{cluster.name} cannot be reached: {error}", _CHECK) from None
    if probe is None:
        raise ZabbixError(f"{cluster.name} still refuses values", hint)
    version = wait_until_stored(api, host_id, probe, STORED_SECONDS)
    if version is None:
        raise ZabbixError(f"{cluster.name} has taken a value, but does not show it", OTHER_ZABBIX)
    say(f"{cluster.name}: the test value has arrived: version {version}")

"""Values that pass a real proxy, or the right one of a proxy group."""

import time
from pathlib import Path

import pytest

from nfszbx.sinks.spooled import PROBE_SECONDS, SpooledSink
from tests.sinks.feeder import BEGIN
from tests.sinks.test_zabbix import ITEMS, make_samples, sink
from tests.sinks.zabbix_proxy import ZabbixProxy, monitor_by_group
from tests.sinks.zabbix_server import ZabbixServer

TAKEN_SECONDS = 60.0
FAILOVER_SECONDS = 10  # the least that Zabbix takes


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy learns of a host some seconds after it began."""
    monkeypatch.setattr("nfszbx.sinks.spooled.REFUSED_SECONDS", 0.5)
    monkeypatch.setattr("nfszbx.sinks.spooled.MAX_BACK_OFF_SECONDS", 2.0)


def put(sink: SpooledSink, numbers: range) -> None:
    for number in numbers:
        sink.put(make_samples(BEGIN + 10 * number, number))


def wait_until_taken(sink: SpooledSink, count: int) -> None:
    deadline = time.monotonic() + TAKEN_SECONDS
    while sink.healths()[0].queue_length or sink.healths()[0].delivered < count:
        assert time.monotonic() < deadline, sink.healths()
        time.sleep(0.01)


def assert_stored(zabbix: ZabbixServer, host_id: str, count: int) -> None:
    for key in ITEMS:
        values = zabbix.wait_for_history(host_id, key, count, TAKEN_SECONDS)
        assert [value.clock for value in values] == [BEGIN + 10 * n for n in range(count)]


def wait_for_serving(zabbix: ZabbixServer, host_id: str) -> str:
    """The id of the proxy that the group has given the host to."""
    deadline = time.monotonic() + TAKEN_SECONDS
    wanted = {"hostids": host_id, "output": ["assigned_proxyid"]}
    while (found := zabbix.call("host.get", wanted)[0]["assigned_proxyid"]) == "0":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return str(found)


def test_values_pass_a_proxy(zabbix: ZabbixServer, tmp_path: Path) -> None:
    """Its server is away meanwhile, and it is killed after it has taken values."""
    host_id = zabbix.create_host("proxied", ITEMS)
    with (
        ZabbixProxy(zabbix, "proxy", tmp_path) as proxy,
        sink(tmp_path, "proxied", proxy.address) as opened,
    ):
        proxy.monitor(host_id)
        put(opened, range(5))
        wait_until_taken(opened, 10)
        assert_stored(zabbix, host_id, 5)
        zabbix.stop_server()
        put(opened, range(5, 10))
        wait_until_taken(opened, 20)
        zabbix.start_server()
        assert_stored(zabbix, host_id, 10)
        put(opened, range(10, 15))
        wait_until_taken(opened, 30)
        proxy.daemon.stop(kill=True)
        time.sleep(PROBE_SECONDS + 1.0)
        proxy.daemon.start()
        assert_stored(zabbix, host_id, 15)


@pytest.mark.parametrize("zabbix", ["7.0"], indirect=True, scope="session")
def test_proxy_group_sends_to_the_right_one(zabbix: ZabbixServer, tmp_path: Path) -> None:
    """And to another one when that is killed; here nfszbx knows but one of them."""
    group = {"name": "group", "failover_delay": f"{FAILOVER_SECONDS}s"}
    group_id = zabbix.call("proxygroup.create", group)["proxy_groupids"][0]
    host_id = zabbix.create_host("grouped", ITEMS)
    with (
        ZabbixProxy(zabbix, "first", tmp_path, group_id) as first,
        ZabbixProxy(zabbix, "second", tmp_path, group_id) as second,
    ):
        monitor_by_group(zabbix, host_id, group_id)
        serving_id = wait_for_serving(zabbix, host_id)
        serving, known = (first, second) if first.id == serving_id else (second, first)
        with sink(tmp_path, "grouped", known.address) as opened:
            put(opened, range(5))
            assert_stored(zabbix, host_id, 5)
            serving.daemon.stop(kill=True)
            put(opened, range(5, 10))
            assert_stored(zabbix, host_id, 10)
            assert wait_for_serving(zabbix, host_id) == known.id

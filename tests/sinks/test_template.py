"""The template in a real server: what nfszbx measures is what Zabbix shows."""

import json
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from nfszbx.config import Config
from nfszbx.template.parts import TEMPLATE
from nfszbx.zabbix.api import ZabbixApi
from nfszbx.zabbix.host import create_host, find_template, import_template
from tests.live.running import Document, NfszbxRun
from tests.live.samba import CLIENTS, SambaServer
from tests.live.unruly import Unruly
from tests.operations import make_operations
from tests.sinks.test_zabbix import address, make_samples, sink
from tests.sinks.zabbix_server import HistoryValue, ZabbixServer

HOST = "file server with a template"
SECONDS_PER_DAY = 86_400
WAIT_SECONDS = 30.0
TRIGGER_SECONDS = 150.0
DIRECTIONS = ("receive", "transmit")


@pytest.fixture(scope="session")
def templated_host(zabbix: ZabbixServer) -> str:
    """Its id."""
    settings = {"url": zabbix.frontend_url, "token": zabbix.create_token()}
    config = Config.model_validate({"zabbix": {"api": settings}})
    api = ZabbixApi(config.zabbix.api)
    import_template(api)
    template_id = find_template(api)
    assert template_id
    host_id = create_host(api, HOST, "Linux servers", template_id, {})
    zabbix.synchronise()
    return host_id


def test_every_value_is_the_measured_one(
    zabbix: ZabbixServer, templated_host: str, samba: SambaServer, tmp_path: Path
) -> None:
    """Totals and clients, after discovery has made their items, with the clock of the interval."""
    payload = tmp_path / "payload"
    payload.write_bytes(b"x" * 5_000_000)
    environment = {
        "NFSZBX_STATE_DIRECTORY": str(tmp_path / "spool"),
        "NFSZBX_ZABBIX__CLIENTS_INTERVAL_SECONDS": "1",
    }
    flags = ["--sink", "zabbix", "--zabbix-host", HOST, "--zabbix-server", address(zabbix)]
    with NfszbxRun(flags, environment) as run:
        clients = [samba.connect(name) for name in CLIENTS]
        try:
            for number, client in enumerate(clients):
                client.start(f'put "{payload}" t{number}')
                client.finish()
            run.wait_for_dump()
            for name in CLIENTS.values():  # discovered, and in use by the server
                key = f'nfszbx.client.receive_bytes_per_second["smbd {name}"]'
                while not zabbix.read_history(templated_host, key):
                    run.next_document()
            begin = len(run.documents)
            for _ in range(5):
                for number, client in enumerate(clients):
                    client.start(f"get t{number} /dev/null")
                    client.finish()
                run.wait_for_dump()
        finally:
            for client in clients:
                client.close()
        assert run.stop(signal.SIGTERM) == 0
    documents = run.documents[begin:]
    assert len(documents) >= 5
    for direction in DIRECTIONS:
        field = f"{direction}_bytes_per_second"
        totals = {d["time"]: d["services"]["smbd"].get(field) for d in documents}
        check_history(zabbix, templated_host, f"nfszbx.service.{field}[smbd]", totals)
        for name in CLIENTS.values():
            rates = {d["time"]: get_rate(d, f"smbd {name}", field) for d in documents}
            assert any(rates.values())
            key = f'nfszbx.client.{field}["smbd {name}"]'
            check_history(zabbix, templated_host, key, rates)
    version = zabbix.wait_for_history(templated_host, "nfszbx.build_info", 1)[-1]
    assert version.value == next(iter(documents[-1]["health"]["build_info"]))


def get_rate(document: Document, row_id: str, field: str) -> float | None:
    """None where the rate is not known; a client that was idle has no row, and moved nothing."""
    rows = {row["id"]: row for row in document["clients"]}
    if row_id not in rows:
        return 0.0
    rate: float | None = rows[row_id].get(field)
    return rate


def check_history(
    zabbix: ZabbixServer, host_id: str, key: str, expected: dict[float, float | None]
) -> None:
    """Every interval's value is there, with its time and no other."""
    known = {int(time): value for time, value in expected.items() if value is not None}
    assert known
    stored = {
        value.clock: float(value.value)
        for value in zabbix.wait_for_history(host_id, key, len(known))
        if value.clock >= min(known)
    }
    assert stored == pytest.approx(known, rel=1e-9)


def test_client_that_returns_after_its_time(
    zabbix: ZabbixServer, templated_host: str, tmp_path: Path
) -> None:
    """It is discovered no more, and then again: the item is the old one, with its history."""
    key = 'nfszbx.client.receive_bytes_per_second["smbd 192.0.2.1"]'
    begin = int(time.time()) - 2 * SECONDS_PER_DAY - 100
    before: list[HistoryValue] = []

    def read_discovered() -> str:
        rule = {"hostids": templated_host, "filter": {"key_": key}, "output": ["itemid"]}
        (item,) = zabbix.call("item.get", {**rule, "selectItemDiscovery": ["ts_delete"]})
        return str(item["itemDiscovery"]["ts_delete"])

    def is_lost() -> bool:
        return bool(zabbix.find_items(templated_host, key)) and read_discovered() != "0"

    with sink(tmp_path, HOST, address(zabbix)) as opened:
        for number in range(60):  # until the item is there, and in use by the server
            opened.put(make_samples(begin + number, 7, "192.0.2.1"))
            time.sleep(1.0)
            if before := zabbix.read_history(templated_host, key):
                break
        opened.put(make_samples(begin + 2 * SECONDS_PER_DAY, 7, "192.0.2.2"))
        wait_until(is_lost)
        opened.put(make_samples(begin + 2 * SECONDS_PER_DAY + 10, 7, "192.0.2.1"))
        values = zabbix.wait_for_history(templated_host, key, len(before) + 1)
        assert values[: len(before)] == before
        assert values[-1].clock == begin + 2 * SECONDS_PER_DAY + 10
        wait_until(lambda: not is_lost())


def test_operations_are_discovered_with_their_values(
    zabbix: ZabbixServer, templated_host: str, tmp_path: Path
) -> None:
    """Also those of exports whose names need quoting."""
    exports = {"/srv/a b": "/srv/a b", '/srv/"c\\d': '/srv/\\"c\\d', "/srv/\u00e4": "/srv/\u00e4"}
    server = {
        "operations_per_second": 6.0,
        "errors_per_second": 1.5,
        "read_bytes_per_second": 300.0,
        "write_bytes_per_second": 0.0,
        "threads": 8.0,
        "threads_busy": 0.25,
        "thread_wait_p95_seconds": 0.000256,
        "uncounted_operations_total": 2.0,
        "uncounted_bytes_total": 100.0,
        "up": 1.0,
        "map_fill": 100 * 9 / 32_768,
    }
    operation = {
        "operations_per_second": 6.0,
        "errors_per_second": 1.5,
        "request_p50_seconds": 0.000128,
        "request_p95_seconds": 0.000256,
        "request_p99_seconds": 0.000256,
    }
    expected = {f"nfszbx.nfs.{field}": value for field, value in server.items()}
    expected |= {
        f'nfszbx.nfs.operation.{field}["4.2 READ"]': value for field, value in operation.items()
    }
    for name in exports.values():
        export = f'nfszbx.nfs.export.{{}}["{name}"]'
        expected[export.format("operations_per_second")] = 2.0
        expected[export.format("read_bytes_per_second")] = 100.0
    expected['nfszbx.nfs.export.read_bytes_per_second["other"]'] = 0.0
    begin = int(time.time()) - 1000
    operations = make_operations(("10.0.0.1",), tuple(exports))
    with sink(tmp_path, HOST, address(zabbix)) as opened:
        for number in range(60):  # until the items are there, and in use by the server
            samples = make_samples(begin + number)
            opened.put(replace(samples, operations=operations))
            time.sleep(1.0)
            if all(zabbix.read_history(templated_host, key) for key in expected):
                break
    found = {key: zabbix.read_history(templated_host, key) for key in expected}
    for key, history in found.items():
        assert history, key
        for each in history:
            assert float(each.value) == pytest.approx(expected[key]), key
            assert begin <= each.clock < begin + 60
    (top,) = {each.value for each in zabbix.read_history(templated_host, "nfszbx.nfs.clients.top")}
    assert top == "10.0.0.1: 6.0 per second"
    client = 'nfszbx.nfs.client.operations_per_second["10.0.0.1"]'
    assert not zabbix.find_items(templated_host, client)  # only where the user asks for it


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_triggers_fire_and_recover(
    zabbix: ZabbixServer, templated_host: str, tmp_path: Path, state: Path
) -> None:
    """When bpftrace ends again and again, Zabbix has a problem; when it works again, it is over."""
    unruly = Unruly(tmp_path)
    environment = {**unruly.environment, "NFSZBX_STATE_DIRECTORY": str(state)}
    flags = ["--sink", "zabbix", "--zabbix-host", HOST, "--zabbix-server", address(zabbix)]

    def list_problems() -> set[str]:
        wanted = {"hostids": templated_host, "output": ["name"]}
        return {problem["name"] for problem in zabbix.call("problem.get", wanted)}

    def wait_for_document(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + TRIGGER_SECONDS
        while not condition():
            assert time.monotonic() < deadline, list_problems()
            run.next_document()

    not_measured = "nfszbx: Traffic is not measured"
    with NfszbxRun(flags, environment) as run:
        wait_for_document(lambda: not_measured not in list_problems())
        unruly.tell("exit")
        wait_for_document(
            lambda: {not_measured, "nfszbx: bpftrace is in a crash loop"} <= list_problems()
        )
        unruly.mend()
        wait_for_document(lambda: not_measured not in list_problems())


def test_no_item_is_unsupported(zabbix: ZabbixServer, templated_host: str) -> None:
    wanted = {"hostids": templated_host, "output": ["key_", "state", "error"]}
    items = zabbix.call("item.get", wanted)
    assert len(items) > 20
    assert not [item for item in items if int(item["state"])]
    rules = zabbix.call("discoveryrule.get", wanted)
    assert [rule["error"] for rule in rules] == [""] * 6


def test_dashboards_of_the_template(zabbix: ZabbixServer, templated_host: str) -> None:
    """The pages answer, with what they are to show; docs/zabbix.md has pictures."""
    (template,) = zabbix.call(
        "template.get",
        {"filter": {"host": TEMPLATE}, "selectDashboards": ["dashboardid"], "output": ["host"]},
    )
    (dashboard,) = template["dashboards"]
    page = zabbix.get_page(
        f"zabbix.php?action=host.dashboard.view&hostid={templated_host}"
        f"&dashboardid={dashboard['dashboardid']}"
    )
    assert "Busiest clients" in page
    assert "NFS operations" in page
    assert "fatal error" not in page.lower()
    assert json.dumps("Overview")[1:-1] in page

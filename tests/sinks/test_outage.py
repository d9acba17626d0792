"""What becomes of values while the server, the network or nfszbx itself is away: nothing."""

import json
import subprocess
import sys
import time
from pathlib import Path

from nfszbx.sinks.spooled import PROBE_SECONDS
from tests.sinks.feeder import BEGIN
from tests.sinks.test_zabbix import ITEMS, STOP_SECONDS, address, make_samples, sink
from tests.sinks.zabbix_server import ZabbixServer

INTERVALS = 200


def feed(zabbix: ZabbixServer, directory: Path, host: str, first: int, end: int) -> None:
    """A process that has the intervals on disk, and is killed then."""
    arguments = [str(directory), host, address(zabbix), str(first), str(end)]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.sinks.feeder", *arguments], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        try:
            assert process.stdout.readline() == "fed\n"
        finally:
            process.kill()


def test_server_away_for_long_and_nfszbx_killed_meanwhile(
    zabbix: ZabbixServer, tmp_path: Path
) -> None:
    host_id = zabbix.create_host("long outage", ITEMS)
    zabbix.stop_server()
    try:
        feed(zabbix, tmp_path, "long outage", 0, INTERVALS // 2)
        feed(zabbix, tmp_path, "long outage", INTERVALS // 2, INTERVALS)
    finally:
        zabbix.start_server()
    with sink(tmp_path, "long outage", address(zabbix)) as opened:
        for key in ITEMS:
            values = zabbix.wait_for_history(host_id, key, INTERVALS)
            expected = [(BEGIN + 10 * number, 250_000_000) for number in range(INTERVALS)]
            assert [(value.clock, value.ns) for value in values] == expected
            if "services" in json.loads(values[0].value):
                received = [
                    json.loads(value.value)["services"]["smbd"]["receive_bytes_total"]
                    for value in values
                ]
                assert received == list(range(INTERVALS))
        (health,) = opened.healths()
        assert (health.queue_length, health.dropped) == (0, 0)


def test_server_killed_after_it_has_acknowledged(zabbix: ZabbixServer, tmp_path: Path) -> None:
    """It says "processed" before anything is in its database."""
    host_id = zabbix.create_host("killed", ITEMS)
    with sink(tmp_path, "killed", address(zabbix)) as opened:
        for number in range(5):
            opened.put(make_samples(BEGIN + 10 * number, number))
        deadline = time.monotonic() + STOP_SECONDS
        while opened.healths()[0].delivered < 5 * len(ITEMS):
            assert time.monotonic() < deadline
            time.sleep(0.001)
        zabbix.stop_server(kill=True)
        time.sleep(PROBE_SECONDS + 1.0)  # nothing is sent meanwhile
        zabbix.start_server()
        opened.put(make_samples(BEGIN + 50, 5))
        for key in ITEMS:
            values = zabbix.wait_for_history(host_id, key, 6)
            assert [value.clock for value in values] == [BEGIN + 10 * n for n in range(6)]

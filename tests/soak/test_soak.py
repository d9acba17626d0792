"""Thirty days of measuring: nothing is lost or invented, and nothing grows.

What is less than in life, since thirty days of 2,000 clients in each of 259,200 intervals take
hours (``python -m benchmarks.soak`` has them): one test has all the intervals, but two clients in
each, a small map, and sinks that get one interval an hour; another has 2,000 clients at once and
every sink, but intervals of four hours. Both have 100,000 different clients, which come back.
"""

import json
import re
from pathlib import Path

import pytest

from nfszbx import cadence, catalog, counter_store, counters
from nfszbx.counters import MAX_REMEMBERED
from nfszbx.traffic import Direction, Service, Slot
from tests.kernel_model import KernelModel
from tests.soaking import CONSUMER, SLOTS, WELL, Figures, Shape, Soak, open_pipeline

STREAMS = Path(__file__).parents[1] / "fixtures" / "streams"
pytestmark = pytest.mark.timeout(1200)  # they take two minutes on a machine that is not busy
DAYS, FIRST_DAYS = 30, 15
"""In the first half, what is remembered of clients that have left grows to its bound."""
GROWTH = 1.05
WAL_BYTES = 4_500_000
"""What SQLite writes beside a database before it makes it part of it: 1000 pages."""
PROCESS_BYTES = 16_000_000
"""What the memory of the process may vary by, in which the test's own books are, too."""

EVERY_INTERVAL = Shape(
    intervals=259_200,
    interval_seconds=10,
    clients=100_000,
    active=2_000,
    passes=2,
    flows=2,
    map_max_entries=64,
    max_clients=50,
    client_idle_seconds=65,
    show_every=360,
    zabbix_retention_days=1,
    spool_max_bytes=200_000,
    down=range(17 * 8640, 20 * 8640),
)
EVERY_CLIENT = Shape(
    intervals=180,
    interval_seconds=14_400,
    clients=100_000,
    active=2_000,
    passes=3,
    flows=2_000,
    map_max_entries=8192,
    max_clients=500,
    client_idle_seconds=86_400,
    zabbix_retention_days=1,
    spool_max_bytes=500_000,
    down=range(17 * 6, 20 * 6),
)


def test_30_days_with_every_interval(tmp_path: Path) -> None:
    """In the second half all clients come back: more than are remembered."""
    soak = run(EVERY_INTERVAL, tmp_path)
    assert soak.left > EVERY_INTERVAL.clients
    assert soak.began_anew > EVERY_INTERVAL.clients / 10


def test_30_days_with_2000_clients_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a fifth of what is remembered otherwise, so that this bound is reached early."""
    for module in (counters, counter_store, cadence):
        monkeypatch.setattr(module, "MAX_REMEMBERED", MAX_REMEMBERED // 5)
    soak = run(EVERY_CLIENT, tmp_path)
    assert soak.left > EVERY_CLIENT.clients / 3
    assert soak.began_anew


def run(shape: Shape, directory: Path) -> Soak:
    """Every interval is compared with the truth in ``soaking.py``; here are the sizes."""
    with Soak(directory, shape) as soak:
        soak.run(measure_every=shape.intervals // DAYS)
        # The server was away for longer than the spool has room.
        assert soak.spool.count_dropped(CONSUMER)
    assert soak.kernel.children > DAYS
    sizes = dict(zip(Figures._fields, zip(*soak.figures, strict=True), strict=True))
    for name in ("state", "process", "exposition", "totals_document", "roster_file"):
        first, rest = max(sizes[name][:FIRST_DAYS]), sizes[name][FIRST_DAYS:]
        assert max(rest) < first * GROWTH + (PROCESS_BYTES if name == "process" else 0), name
    assert max(sizes["exposition"]) < 8_000 + 4 * 150 * shape.max_clients
    assert max(sizes["clients_document"]) < 1_000 + 400 * shape.zabbix_max_clients
    assert max(sizes["roster_file"]) < 100 * shape.zabbix_max_clients
    rows = MAX_REMEMBERED + 4 * shape.max_clients
    assert max(sizes["counters_file"]) < 150 * rows + WAL_BYTES
    assert max(sizes["spool_file"]) < 2 * shape.spool_max_bytes + WAL_BYTES
    return soak


@pytest.mark.parametrize("version", ["0.17", "0.23", "0.27"])
def test_recorded_stream_for_days(version: str) -> None:
    """The same child again and again, with four dumps each time: together those of ten days."""
    pieces = re.split(r"(?<=nfszbx )(begin|end|last) (\d+)", read_stream(version))
    start_ns, end_ns = int(pieces[2]), int(pieces[-2])
    children = DAYS * 8640 // 4 // 9
    pipeline = open_pipeline(max_clients=500, map_max_entries=8192)
    dumps = 0
    for number in range(children):
        shift_ns = number * (end_ns - start_ns + 1)
        moved = "".join(
            f"{kind} {int(ns) + shift_ns}{rest}"
            for kind, ns, rest in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True)
        )
        for line in (pieces[0] + moved).splitlines():
            dumps += pipeline.take_line(line, 0.0)
    assert dumps == children * 4
    samples = pipeline.make_samples(0.0, measured=True, child=WELL)
    values = {(one.metric, one.labels): one.value for one in samples.samples}
    assert values[catalog.RECEIVE_BYTES, ("smbd", "tcp")] == children * 6_000
    assert values[catalog.TRANSMIT_BYTES, ("smbd", "tcp")] == children * 3_000_000
    assert values[catalog.CLIENT_TRANSMIT_BYTES, ("smbd", "tcp", "::1")] == children * 1_000_000
    assert values[catalog.CLIENT_TRANSMIT_BYTES, ("smbd", "tcp", "other")] == 0
    assert values[catalog.REFUSED_DUMPS, ()] == 0


def read_stream(version: str) -> str:
    """From the begin mark to the last one."""
    text = (STREAMS / f"bpftrace-{version}.jsonl").read_text(encoding="utf-8")
    return "".join(line for line in text.splitlines(keepends=True) if "attached" not in line)


@pytest.mark.parametrize("version", ["0.17", "0.23", "0.27"])
def test_model_speaks_as_bpftrace_does(version: str) -> None:
    """The same traffic gives the same lines but for numbers, and for the order in a map."""

    def flow(kernel: KernelModel) -> None:
        for direction in Direction:
            for client in range(3):
                assert kernel.flow(Slot(Service.SMBD, direction), client, 1)

    large, small = KernelModel(8192), KernelModel(6)
    lines = list(large.end_interval())
    flow(large)
    lines += large.end_interval()
    flow(small)
    *last, begin = list(small.end_interval())[1:]
    recorded = list(filter(str.strip, read_stream(version).splitlines()))
    assert list(map(leave_out_numbers, lines)) == list(map(leave_out_numbers, recorded[:5]))
    assert leave_out_numbers(begin) == leave_out_numbers(recorded[0])
    assert list(map(leave_out_numbers, last)) == list(map(leave_out_numbers, recorded[-3:]))


def leave_out_numbers(line: str) -> str:
    return re.sub(r"-?\d+", "N", line)


def test_model_overflows_as_the_map_does() -> None:
    """What does not fit is in the totals alone, until a new child has an empty map."""
    kernel = KernelModel(2)
    assert [kernel.flow(SLOTS[0], client, 5) for client in (1, 2, 3, 1)] == [
        True,
        True,
        False,
        True,
    ]
    _, totals, clients, last, begin = kernel.end_interval()
    assert json.loads(totals)["data"] == {"@total_bytes": {"1": 20}}
    assert sorted(json.loads(clients)["data"]["@client_bytes"].values()) == [5, 10]
    assert ("last" in last, "begin" in begin) == (True, True)
    assert kernel.flow(SLOTS[0], 3, 5)
    assert kernel.totals == {SLOTS[0]: 25}

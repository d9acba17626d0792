"""A recorded stream, through every stage, to the samples and the document of a sink."""

import dataclasses
import json
from itertools import pairwise
from pathlib import Path

import pytest

from nfszbx import catalog
from nfszbx.catalog import Kind, Metric
from nfszbx.config import Config
from nfszbx.document import make_document
from nfszbx.health import SinkHealth
from nfszbx.kernel.facts import facts_from_json
from nfszbx.pipeline import Pipeline
from nfszbx.plan import Plan, make_plan
from nfszbx.samples import Samples

FIXTURES = Path(__file__).parents[1] / "fixtures"
LINES = (FIXTURES / "streams" / "bpftrace-0.17.jsonl").read_text().splitlines()
NOW = 1_800_000_000.25


@pytest.fixture
def plan() -> Plan:
    path = FIXTURES / "facts" / "no-kprobes-6.18.json"
    return make_plan(facts_from_json(path.read_text(), "fixture"), Config())


@pytest.fixture
def pipeline(plan: Plan) -> Pipeline:
    return Pipeline(plan, 500, ("exited", "killed"))


def play(pipeline: Pipeline, lines: list[str]) -> list[Samples]:
    return [
        pipeline.make_samples(NOW + number, measured=True, child_up=True)
        for number, line in enumerate(lines)
        if pipeline.take_line(line, NOW + number)
    ]


def values(samples: Samples, metric: Metric) -> dict[tuple[str, ...], float]:
    return {sample.labels: sample.value for sample in samples.samples if sample.metric is metric}


def test_rates_are_bytes_over_the_kernel_s_own_time(pipeline: Pipeline) -> None:
    first, second, third, last = play(pipeline, LINES)
    assert values(first, catalog.RECEIVE_RATE)["smbd",] == 0
    # 2331541360390 - 2330541368932 ns between the end marks of the recording
    seconds = 0.999991458
    assert values(second, catalog.RECEIVE_RATE)["smbd",] == pytest.approx(
        6_000 / seconds, rel=1e-12
    )
    client = ("smbd", "127.0.0.2")
    assert values(second, catalog.CLIENT_TRANSMIT_RATE)[client] == pytest.approx(1e6 / seconds)
    assert values(third, catalog.CLIENT_TRANSMIT_RATE)[client] == 0
    assert values(last, catalog.CLIENT_TRANSMIT_BYTES)[client] == 1_000_000
    assert all(samples.complete for samples in (first, second, third, last))


def test_every_measured_service_has_a_zero_before_its_first_byte(pipeline: Pipeline) -> None:
    first, *_ = play(pipeline, LINES[:3])
    assert values(first, catalog.TRANSMIT_BYTES) == {("nfsd",): 0, ("smbd",): 0, ("ksmbd",): 0}


def test_what_is_not_measured_has_no_value_rather_than_zero(plan: Plan) -> None:
    receive, transmit = plan.choices
    half = dataclasses.replace(plan, choices=(receive, dataclasses.replace(transmit, chosen=None)))
    *_, last = play(Pipeline(half, 500, ()), LINES)
    assert values(last, catalog.RECEIVE_BYTES)
    assert not values(last, catalog.TRANSMIT_BYTES)
    assert not values(last, catalog.CLIENT_TRANSMIT_BYTES)
    assert values(last, catalog.WAY_INFO)["transmit", "none"] == 1


def test_interval_without_a_dump(pipeline: Pipeline) -> None:
    """Counters stand still, rates are unknown, and the interval counts as incomplete."""
    play(pipeline, LINES)
    gap = pipeline.make_samples(NOW, measured=False, child_up=False)
    assert not gap.complete
    assert values(gap, catalog.RECEIVE_BYTES)["smbd",] == 6_000
    assert not values(gap, catalog.RECEIVE_RATE)
    assert values(gap, catalog.INTERVALS) == {(): 4}
    assert values(gap, catalog.INCOMPLETE_INTERVALS) == {(): 1}
    assert values(gap, catalog.CHILD_UP) == {(): 0}


def test_before_the_first_dump(pipeline: Pipeline) -> None:
    samples = pipeline.make_samples(NOW, measured=False, child_up=False)
    assert not values(samples, catalog.RECEIVE_BYTES)
    assert values(samples, catalog.CHILD_UP) == {(): 0}
    assert not values(samples, catalog.LAST_DUMP)


def test_restart_and_its_incomplete_interval(pipeline: Pipeline) -> None:
    play(pipeline, LINES)
    pipeline.take_missed_runs(5)
    pipeline.take_end("killed")
    later = [line.replace("nfszbx begin 2329", "nfszbx begin 2333") for line in LINES]
    later = [line.replace("nfszbx end 233", "nfszbx end 243") for line in later]
    first, *_, last = play(pipeline, later)
    pipeline.take_missed_runs(2)
    assert not first.complete
    assert last.complete
    assert values(last, catalog.RECEIVE_BYTES)["smbd",] == 12_000
    final = pipeline.make_samples(NOW, measured=True, child_up=True)
    assert values(final, catalog.RESTARTS) == {("exited",): 0, ("killed",): 1}
    assert values(final, catalog.MISSED_RUNS) == {(): 7}


def test_refused_dumps_and_lost_events_are_counted(pipeline: Pipeline) -> None:
    lines = [
        *LINES[:5],
        '{"type": "lost_events", "data": {"events": 4}}',
        LINES[5],
        "garbage",
        *LINES[6:],
    ]
    *_, last = play(pipeline, lines)
    assert values(last, catalog.LOST_EVENTS) == {(): 4}
    assert values(last, catalog.REFUSED_DUMPS) == {(): 3}  # two dumps, and the garbage itself
    assert values(last, catalog.RECEIVE_BYTES)["smbd",] == 6_000


def test_counters_never_go_backwards_over_any_cut_of_the_stream(plan: Plan) -> None:
    """A stream that stops anywhere, and a second child after it."""
    for cut in range(len(LINES)):
        again = [line.replace("begin 23", "begin 33").replace("end 23", "end 33") for line in LINES]
        torn = [*LINES[:cut], LINES[cut][: len(LINES[cut]) // 2], *again]
        totals = [
            values(s, catalog.RECEIVE_BYTES)["smbd",] for s in play(Pipeline(plan, 9, ()), torn)
        ]
        assert all(before <= after for before, after in pairwise(totals))
        assert totals[-1] in (6_000, 12_000)


def test_document(pipeline: Pipeline) -> None:
    """What the console prints and Zabbix gets: complete, sorted, plain JSON."""
    play(pipeline, LINES)
    sink = SinkHealth("zabbix", 1, 2, 3, 4)
    samples = pipeline.make_samples(NOW, measured=True, child_up=True, sinks=(sink,))
    document = json.loads(json.dumps(make_document(samples)))
    assert document["time"] == NOW
    assert document["complete"] is True
    assert document["services"]["smbd"]["transmit_bytes_total"] == 3_000_000
    ids = [row["id"] for row in document["clients"]]
    assert ids == ["smbd 127.0.0.1", "smbd 127.0.0.2", "smbd ::1", "smbd other"]
    assert document["clients"][0]["transmit_bytes_total"] == 1_000_000
    assert document["health"]["child_restarts_total"] == {"exited": 0, "killed": 0}
    assert document["health"]["way_info"] == {
        "receive": {"tracepoint": 1},
        "transmit": {"tracepoint": 1},
    }
    assert document["health"]["sink_dropped_total"] == {"zabbix": 3}


def test_catalogue_follows_the_prometheus_guidelines() -> None:
    metrics = [value for value in vars(catalog).values() if isinstance(value, Metric)]
    assert len({metric.name for metric in metrics}) == len(metrics)
    for metric in metrics:
        assert metric.name.startswith("nfszbx_")
        assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
        assert metric.help.endswith(".")

"""A recorded stream, through every stage, to the samples and the document of a sink."""

import dataclasses
import json
import re
from itertools import pairwise
from pathlib import Path

import pytest

from nfszbx import catalog
from nfszbx.config import Config
from nfszbx.connections import Connection, Sight
from nfszbx.document import make_document
from nfszbx.health import ChildHealth, SinkHealth, SinksHealth
from nfszbx.kernel.facts import facts_from_json
from nfszbx.metric import Kind, Metric
from nfszbx.pipeline import Pipeline
from nfszbx.plan import Plan, make_plan
from nfszbx.samples import Samples
from nfszbx.traffic import Service

FIXTURES = Path(__file__).parents[1] / "fixtures"
LINES = (FIXTURES / "streams" / "bpftrace-0.17.jsonl").read_text().splitlines()
NOW = 1_800_000_000.25

SMBD = ("smbd", "tcp")
UP = ChildHealth(is_up=True, state=0, is_crash_loop=False)
DOWN = ChildHealth(is_up=False, state=3, is_crash_loop=True)

DAY_SECONDS = 86_400.0


@pytest.fixture
def plan() -> Plan:
    path = FIXTURES / "facts" / "no-kprobes-6.18.json"
    return make_plan(facts_from_json(path.read_text(), "fixture"), Config())


@pytest.fixture
def pipeline(plan: Plan) -> Pipeline:
    return Pipeline(plan, 500, DAY_SECONDS, ("exited", "killed"))


def play(pipeline: Pipeline, lines: list[str]) -> list[Samples]:
    return [
        pipeline.make_samples(NOW + number, measured=True, child=UP)
        for number, line in enumerate(lines)
        if pipeline.take_line(line, NOW + number)
    ]


def later(lines: list[str]) -> list[str]:
    """The same from another child, an hour later."""
    hour_ns = 3600 * 10**9
    mark = re.compile(r"(nfszbx [a-z]+ )(\d+)")
    return [mark.sub(lambda m: f"{m[1]}{int(m[2]) + hour_ns}", line) for line in lines]


def values(samples: Samples, metric: Metric) -> dict[tuple[str, ...], float]:
    return {sample.labels: sample.value for sample in samples.samples if sample.metric is metric}


def test_rates_are_bytes_over_the_kernel_s_own_time(pipeline: Pipeline) -> None:
    first, second, third, last = play(pipeline, LINES)
    assert values(first, catalog.RECEIVE_RATE)[SMBD] == 0
    ends = [int(ns) for ns in re.findall(r"nfszbx end (\d+)", "\n".join(LINES))]
    seconds = (ends[1] - ends[0]) / 1e9
    assert values(second, catalog.RECEIVE_RATE)[SMBD] == pytest.approx(6_000 / seconds, rel=1e-12)
    client = (*SMBD, "127.0.0.2")
    assert values(second, catalog.CLIENT_TRANSMIT_RATE)[client] == pytest.approx(1e6 / seconds)
    assert values(third, catalog.CLIENT_TRANSMIT_RATE)[client] == 0
    assert values(last, catalog.CLIENT_TRANSMIT_BYTES)[client] == 1_000_000
    assert not values(last, catalog.CLIENT_TRANSMIT_RATE)  # when counting stopped is not known
    assert all(samples.complete for samples in (first, second, third, last))


def test_every_measured_service_has_a_zero_before_its_first_byte(pipeline: Pipeline) -> None:
    first, *_ = play(pipeline, LINES[:3])
    assert values(first, catalog.TRANSMIT_BYTES) == {(service, "tcp"): 0 for service in Service}


def test_what_is_not_measured_has_no_value_rather_than_zero(plan: Plan) -> None:
    receive, transmit = plan.choices
    half = dataclasses.replace(plan, choices=(receive, dataclasses.replace(transmit, chosen=None)))
    *_, last = play(Pipeline(half, 500, DAY_SECONDS, ()), LINES)
    assert values(last, catalog.RECEIVE_BYTES)
    assert not values(last, catalog.TRANSMIT_BYTES)
    assert not values(last, catalog.CLIENT_TRANSMIT_BYTES)
    assert values(last, catalog.WAY_INFO)["transmit", "none"] == 1


def test_interval_without_a_dump(pipeline: Pipeline) -> None:
    """Counters stand still, rates are unknown, and the interval counts as incomplete."""
    play(pipeline, LINES)
    gap = pipeline.make_samples(NOW, measured=False, child=DOWN)
    assert not gap.complete
    assert values(gap, catalog.RECEIVE_BYTES)[SMBD] == 6_000
    assert not values(gap, catalog.RECEIVE_RATE)
    assert values(gap, catalog.INTERVALS) == {(): 4}
    assert values(gap, catalog.INCOMPLETE_INTERVALS) == {(): 1}
    assert values(gap, catalog.CHILD_UP) == {(): 0}


def test_before_the_first_dump(pipeline: Pipeline) -> None:
    samples = pipeline.make_samples(NOW, measured=False, child=DOWN)
    assert not values(samples, catalog.RECEIVE_BYTES)
    assert values(samples, catalog.CHILD_UP) == {(): 0}
    assert not values(samples, catalog.LAST_DUMP)


def test_restart_and_its_incomplete_interval(pipeline: Pipeline) -> None:
    play(pipeline, LINES)
    pipeline.take_missed_runs(5)
    pipeline.take_end("killed")
    first, *_, last = play(pipeline, later(LINES))
    pipeline.take_missed_runs(2)
    assert not first.complete
    assert last.complete
    assert values(last, catalog.RECEIVE_BYTES)[SMBD] == 12_000
    final = pipeline.make_samples(NOW, measured=True, child=UP)
    assert values(final, catalog.RESTARTS) == {("exited",): 0, ("killed",): 1}
    assert values(final, catalog.MISSED_RUNS) == {(): 7}
    assert values(final, catalog.GAPS) == {(): 1}
    (gap_seconds,) = values(final, catalog.GAP_SECONDS).values()
    assert gap_seconds > 0
    assert set(values(final, catalog.RECOVERED).values()) == {0}


def test_what_is_recovered_has_no_rate(pipeline: Pipeline) -> None:
    """It flowed before the interval in which it is found."""
    address = bytes(10) + b"\xff\xff" + bytes([127, 0, 0, 9])

    def look(received_bytes: int, end_ns: int) -> Sight:
        queues_and_counters = (0, 0, 0, received_bytes)
        has_ended = False
        connection = Connection(445, address, has_ended, has_ended, *queues_and_counters)
        return Sight({(1, 1): connection}, end_ns, frozenset({1}))

    def give(number: int, received_bytes: int, begin_ns: int) -> Samples:
        end_ns = number * 10**9
        pipeline.take_before((look(received_bytes, end_ns - 2), look(received_bytes, end_ns - 1)))
        for text in (f"nfszbx begin {begin_ns}", f"nfszbx end {end_ns}"):
            pipeline.take_line(json.dumps({"type": "printf", "data": text}), NOW)
        pipeline.take_after(look(received_bytes, end_ns + 1))
        return pipeline.make_samples(NOW, measured=True, child=UP)

    *_, before = [give(number, 1000, begin_ns=5) for number in (1, 2, 3)]
    found = give(8, 5000, begin_ns=7 * 10**9)
    after = give(9, 5000, begin_ns=7 * 10**9)
    assert [values(each, catalog.RECEIVE_BYTES)[SMBD] for each in (before, found, after)] == [
        0,
        4000,
        4000,
    ]
    assert [bool(values(each, catalog.RECEIVE_RATE)) for each in (before, found, after)] == [
        True,
        False,
        True,
    ]
    assert sum(values(after, catalog.RECOVERED).values()) == 4000


def test_readings_of_ports_that_count_no_longer_are_dropped(pipeline: Pipeline, plan: Plan) -> None:
    """They were made for a dump that never came, before the settings were read again."""
    play(pipeline, LINES)
    has_ended = False
    connection = Connection(445, bytes(16), has_ended, has_ended, 0, 0, 5, 5)
    sight = Sight({(1, 1): connection}, 10**18, frozenset({1}))
    pipeline.take_before((sight, sight))
    pipeline.take_end("killed")
    pipeline.change_plan(dataclasses.replace(plan, audited=()))
    assert play(pipeline, later(LINES))[-1].complete


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
    assert values(last, catalog.REFUSED_DUMPS) == {(): 2}
    assert values(last, catalog.RECEIVE_BYTES)[SMBD] == 6_000


def test_counters_never_go_backwards_over_any_cut_of_the_stream(plan: Plan) -> None:
    """A stream that stops anywhere, and a second child after it."""
    for cut in range(len(LINES)):
        torn = [*LINES[:cut], LINES[cut][: len(LINES[cut]) // 2], *later(LINES)]
        pipeline = Pipeline(plan, 9, DAY_SECONDS, ())
        totals = [values(s, catalog.RECEIVE_BYTES)[SMBD] for s in play(pipeline, torn)]
        assert all(before <= after for before, after in pairwise(totals))
        assert totals[-1] in (6_000, 12_000)


def test_document(pipeline: Pipeline) -> None:
    """What the console prints and Zabbix gets: complete, sorted, plain JSON."""
    play(pipeline, LINES)
    sink = SinkHealth("zabbix", 1, 2, 3, 4, 2)
    samples = pipeline.make_samples(NOW, measured=True, child=UP, sinks=SinksHealth((sink,), 5))
    document = json.loads(json.dumps(make_document(samples)))
    assert document["time"] == NOW + next(n for n, line in enumerate(LINES) if "last" in line)
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


def mark(kind: str, ns: int) -> str:
    return json.dumps({"type": "printf", "data": f"nfszbx {kind} {ns}\n"})


def dump_lines(ns: int, count: int) -> list[str]:
    return [
        json.dumps({"type": "map", "data": {"@total_bytes": {"3": count}}}),
        json.dumps({"type": "map", "data": {"@client_bytes": {"3,0,0": count}}}),
        mark("end", ns),
    ]


SECOND = 10**9


def test_rates_are_left_out_when_a_dump_was_read_late(pipeline: Pipeline) -> None:
    """The mark is older than the reading: how long the bytes took is not known."""
    pipeline.take_line(mark("begin", SECOND), NOW)
    shown = []
    for second, lag in ((2, 0.01), (3, 0.02), (4, 0.8), (5, 0.01), (6, 0.01)):
        boot_ns = int((second + lag) * SECOND)
        for line in dump_lines(second * SECOND, 1000 * second):
            pipeline.take_line(line, NOW + second + lag, boot_ns)
        samples = pipeline.make_samples(NOW + 100, measured=True, child=UP)
        assert samples.complete
        assert values(samples, catalog.RECEIVE_BYTES)[SMBD] == 1000 * second
        # The time of the dump itself, not that of its line or of the call.
        assert samples.unix_seconds == pytest.approx(NOW + second, abs=1e-6)
        shown.append(values(samples, catalog.RECEIVE_RATE).get(SMBD))
    assert shown == [2000.0, 1000.0, None, None, 1000.0]


def test_self_metrics(pipeline: Pipeline, plan: Plan) -> None:
    play(pipeline, LINES)
    sink = SinkHealth("zabbix", 1, 2, 3, 4, 2)
    samples = pipeline.make_samples(NOW, measured=True, child=UP, sinks=SinksHealth((sink,), 5))
    assert values(samples, catalog.SINK_QUEUE) == {("zabbix",): 1}
    assert values(samples, catalog.SINK_DELIVERED) == {("zabbix",): 2}
    assert values(samples, catalog.SINK_DROPPED) == {("zabbix",): 3}
    assert values(samples, catalog.SINK_ERRORS) == {("zabbix",): 4}
    assert values(samples, catalog.SINKS_RESTARTS) == {(): 5}
    assert values(samples, catalog.SINK_STATE) == {("zabbix",): 2}
    assert values(samples, catalog.STATE_KEPT) == {(): 1}
    assert values(samples, catalog.NOT_MEASURED) == {(): len(plan.omissions)}
    assert values(samples, catalog.MAP_ENTRIES) == {(): 6}
    assert values(samples, catalog.MAP_MAX_ENTRIES) == {(): plan.map_max_entries}
    assert 0 < values(samples, catalog.INTERVAL_SECONDS)[()] < 1  # to the last mark
    assert values(samples, catalog.LAST_DUMP)[()] == samples.unix_seconds


def test_map_that_is_nearly_full_is_told(plan: Plan) -> None:
    for entries, is_nearly_full in ((6, True), (100, False)):
        small = dataclasses.replace(plan, map_max_entries=entries)
        pipeline = Pipeline(small, 500, DAY_SECONDS, ())
        assert not pipeline.is_map_nearly_full
        play(pipeline, LINES)
        assert pipeline.is_map_nearly_full == is_nearly_full


def test_another_child_takes_over(pipeline: Pipeline) -> None:
    """Both count the same traffic; the interval in which they change is whole, but has no rate."""

    def say(kind: str, end_ns: int, count: int = 0) -> list[str]:
        maps = {"@total_bytes": {"3": count}, "@client_bytes": {f"3,0,{1 << 32}": count}}
        records = [{"type": "map", "data": {name: table}} for name, table in maps.items()]
        mark = {"type": "printf", "data": f"nfszbx {kind} {end_ns}"}
        return [json.dumps(each) for each in (*(records if count else []), mark)]

    def take(lines: list[str], read_ns: int) -> bool:
        return [pipeline.take_line(line, NOW, read_ns) for line in lines][-1]

    def look() -> Samples:
        return pipeline.make_samples(NOW, measured=True, child=UP)

    take(say("begin", 5), 5)
    assert take(say("end", 1000, 700), 1001)
    pipeline.begin_handover()
    found = [pipeline.take_line_of_successor(line) for line in say("begin", 1100)]
    assert take(say("end", 2000, 900), 2001)
    found += [pipeline.take_line_of_successor(line) for line in say("end", 2100, 80)]
    assert found == [False, False, False, True]
    assert pipeline.take_line_of_successor("garbage") is False
    assert take(say("last", 2500, 1000), 2600)
    pipeline.take_stop()
    pipeline.go_on_with_successor()
    assert not take(say("end", 2550, 181), 2551)  # made before the old one had been read
    assert pipeline.needs_readings  # the ledger finds what was missed in between
    assert take(say("end", 3100, 230), 3101)
    joined = look()
    assert take(say("end", 4100, 240), 4101)
    after = look()
    totals = [values(each, catalog.RECEIVE_BYTES)[SMBD] for each in (joined, after)]
    # 80 of the new one's were 900 of the old one's: 50 of its 230 may be news, 130 after 1000.
    assert totals == [1050, 1060]
    assert joined.complete
    assert not values(joined, catalog.RECEIVE_RATE)
    assert values(after, catalog.RECEIVE_RATE)
    assert values(after, catalog.GAPS) == {(): 0}


def test_row_of_refusals_is_logged_once(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    play(pipeline, [*LINES[:3], *["garbage"] * 1000, *LINES[3:6]])
    assert len(caplog.messages) == 1
    samples = pipeline.make_samples(NOW, measured=False, child=UP)
    assert values(samples, catalog.REFUSED_DUMPS) == {(): 1}

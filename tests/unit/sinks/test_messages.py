"""What passes between the two processes; upwards, an enemy may have written it."""

import json
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfszbx import catalog, catalog_operations
from nfszbx.config import Config
from nfszbx.health import SinkHealth
from nfszbx.privileges import Account
from nfszbx.samples import Sample, Samples
from nfszbx.sinks.messages import (
    Begin,
    Frame,
    Kind,
    MessageError,
    Unpacker,
    decode_samples,
    encode_samples,
    pack,
)
from nfszbx.sinks.reports import parse_refusal, parse_report
from nfszbx.sinks.states import SinkState
from nfszbx.traffic import Service, Transport

TALLY: dict[str, Any] = {
    "name": "console",
    "queue_length": 0,
    "delivered": 5,
    "dropped": 0,
    "errors": 0,
    "state": 0,
}


@given(
    st.lists(st.tuples(st.sampled_from(Kind), st.binary(max_size=40)), max_size=5),
    st.integers(min_value=1, max_value=9),
)
def test_frames_arrive_whole_in_whatever_pieces(frames: list[Frame], size: int) -> None:
    line = b"".join(pack(kind, body) for kind, body in frames)
    unpacker = Unpacker(40)
    found: list[Frame] = []
    for at in range(0, len(line), size):
        found += unpacker.feed(line[at : at + size])
    assert found == [tuple(frame) for frame in frames]


def test_no_more_is_kept_than_a_message_may_have() -> None:
    """Refused by its head: a taken-over process cannot fill the memory of root's."""
    with pytest.raises(MessageError, match="101 bytes"):
        list(Unpacker(100).feed(pack(Kind.REPORT, bytes(101))[:5]))
    with pytest.raises(MessageError, match="unknown kind"):
        list(Unpacker(100).feed(b"\x00\x00\x00\x00\x00"))


def test_interval_comes_out_as_it_went_in() -> None:
    """Metrics are themselves again, not only equal: sinks look them up."""
    labels = (Service.SMBD, Transport.TCP)
    samples = Samples(
        1_790_000_000.123456,
        complete=True,
        samples=(
            Sample(catalog.RECEIVE_BYTES, labels, 2**53 + 1),
            Sample(catalog.RECEIVE_RATE, labels, 0.1 + 0.2),
            Sample(catalog.SINK_STATE, ("console",), SinkState.REFUSING),
        ),
        seconds=10.000001,
        timed=True,
        client_bytes={(catalog.CLIENT_RECEIVE_BYTES, labels): {"::1": 7}},
        is_last=True,
        number=3,
        operations=(Sample(catalog_operations.THREADS, (), 8),),
    )
    decoded = decode_samples(encode_samples(3, samples))
    assert decoded == samples
    assert decoded.samples[0].metric is catalog.RECEIVE_BYTES
    assert (catalog.CLIENT_RECEIVE_BYTES, ("smbd", "tcp")) in decoded.client_bytes
    assert decoded.operations
    assert decoded.operations[0].metric is catalog_operations.THREADS


def test_nothing_new_of_operations_is_not_that_there_are_none() -> None:
    for operations in (None, ()):
        samples = Samples(0.0, complete=True, samples=(), operations=operations)
        assert decode_samples(encode_samples(0, samples)).operations == operations


def test_report_comes_out_as_it_went_in() -> None:
    health = SinkHealth("zabbix 192.0.2.7:10051", 1, 2, 3, 4, SinkState.BACKING_OFF)
    told = {
        "sinks": [asdict(health)],
        "handed_on": {"zabbix": 7},
        "done": 6,
        "on_disk": False,
        "gone": True,
    }
    parsed = parse_report(json.dumps(told).encode())
    assert parsed.model_dump(mode="json") == told
    assert parsed.sinks[0].as_health() == health


def test_settings_are_there_by_their_names() -> None:
    """Without what the process has no business with: the token of the API."""
    settings = {
        "sinks": ["zabbix"],
        "zabbix": {"api": {"token": "secret"}, "servers": ["a", "b;c"], "host": "h"},
    }
    config = Config.model_validate(settings)
    text = config.model_dump_json(exclude={"zabbix": {"api"}})
    assert "secret" not in text
    begin = Begin(text, "/folder", Account("somebody", 1, 2), {"zabbix": 3}, 2, {4: 1.5})
    decoded = Begin.decode(begin.encode())
    assert decoded == begin
    found = decoded.read_config()
    assert (found.log_level, found.prometheus.port) == ("info", config.prometheus.port)
    assert list(found.zabbix.servers) == ["a", "b;c"]
    assert found.zabbix.tls.connect == "unencrypted"
    assert not hasattr(found.zabbix, "api")


@pytest.mark.parametrize(
    "change",
    [
        {"delivered": -1},
        {"delivered": 2**60},
        {"delivered": "5"},
        {"delivered": 5.5},
        {"state": 5},
        {"state": True},
        {"name": "con\x1b[2Jsole"},
        {"name": "x" * 20_000},
        {"name": ""},
        {"extra": 1},
    ],
    ids=str,
)
def test_tallies_that_are_none_are_refused(change: dict[str, object]) -> None:
    assert parse_report(json.dumps({"sinks": [TALLY]}).encode()).sinks[0].delivered == 5
    with pytest.raises(MessageError):
        parse_report(json.dumps({"sinks": [{**TALLY, **change}]}).encode())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"\xff",
        b'{"done": -1}',
        b'{"gone": 1}',
        b'{"handed_on": {"a": "1"}}',
        b'{"surprise": 1}',
        b"[" * 100_000,
        json.dumps({"sinks": [TALLY] * 1001}).encode(),
    ],
    ids=lambda body: repr(body[:30]),
)
def test_reports_that_are_none_are_refused(body: bytes) -> None:
    with pytest.raises(MessageError):
        parse_report(body)


def test_errors_are_words_of_bounded_length() -> None:
    refusal = parse_refusal(b'{"exit_code": 6, "message": "port taken", "hint": "another"}')
    assert (refusal.exit_code, refusal.message, refusal.hint) == (6, "port taken", "another")
    for body in (b'{"exit_code": 6}', b'{"exit_code": "6", "message": ""}'):
        with pytest.raises(MessageError):
            parse_refusal(body)
    with pytest.raises(MessageError):
        parse_refusal(json.dumps({"exit_code": 6, "message": "x" * 10_001}).encode())

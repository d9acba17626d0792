"""Lines to dumps: recorded streams of every bpftrace version, and whatever else a line may be."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfszbx.dump import Dump, DumpReader
from nfszbx.errors import DumpError
from nfszbx.records import LostEvents
from nfszbx.traffic import SLOTS, Direction, Service, Slot

STREAMS = Path(__file__).parents[1] / "fixtures" / "streams"
RECEIVE = Slot(Service.SMBD, Direction.RECEIVE)
TRANSMIT = Slot(Service.SMBD, Direction.TRANSMIT)


def read(lines: list[str]) -> list[Dump]:
    reader = DumpReader("little")
    return [dump for line in lines if isinstance(dump := reader.read_line(line), Dump)]


def stream(name: str) -> list[str]:
    return (STREAMS / f"{name}.jsonl").read_text().splitlines()


def printf(text: str) -> str:
    return json.dumps({"type": "printf", "data": text})


def bpf_map(name: str, content: object) -> str:
    return json.dumps({"type": "map", "data": {name: content}})


BEGIN = printf("nfszbx begin 1000\n")
TOTALS = bpf_map("@total_bytes", {"3": 7})
CLIENTS = bpf_map("@client_bytes", {"3,0,72058143793676288": 7})
END = printf("nfszbx end 2000\n")


@pytest.mark.parametrize("version", ["0.17", "0.23", "0.27"])
def test_recorded_stream(version: str) -> None:
    """The same traffic, recorded with each version, reads the same."""
    first, *others = read(stream(f"bpftrace-{version}"))
    assert (first.total_bytes, first.client_bytes) == ({}, {})
    for dump in others:
        assert dump.total_bytes == {RECEIVE: 6_000, TRANSMIT: 3_000_000}
        assert dump.client_bytes == {
            (slot, client): count
            for slot, count in ((RECEIVE, 2_000), (TRANSMIT, 1_000_000))
            for client in ("127.0.0.1", "127.0.0.2", "::1")  # .2 came as ::ffff:127.0.0.2
        }
    assert len(others) == 3
    assert first.end_ns - first.begin_ns == pytest.approx(1e9, rel=0.01)


@pytest.mark.parametrize("version", ["0.17", "0.27"])
def test_recorded_counts_above_2_to_the_53(version: str) -> None:
    last = read(stream(f"bpftrace-{version}-large"))[-1]
    assert last.total_bytes[TRANSMIT] == 3_000_000 * 10**10
    assert last.client_bytes[TRANSMIT, "::1"] == 1_000_000 * 10**10


def test_integers_as_strings() -> None:
    """bpftrace 0.24 and later may print integers above 2^53 as strings."""
    (dump,) = read([BEGIN, bpf_map("@total_bytes", {"3": str(2**63)}), CLIENTS, END])
    assert dump.total_bytes == {RECEIVE: 2**63}


@pytest.mark.parametrize("second", [2, "2"])
def test_two_keys_for_one_client(second: int | str) -> None:
    """An IPv4 address, and the same one as another script might have written it."""
    mapped = int.from_bytes(bytes.fromhex("0000ffff0a000001"), "little")
    keys = {f"3,0,{mapped}": 1, f"3,0,{mapped - 2**64}": second, "3,0,0": 4}
    (dump,) = read([BEGIN, TOTALS, bpf_map("@client_bytes", keys), END])
    assert dump.client_bytes == {(RECEIVE, "10.0.0.1"): 3, (RECEIVE, "::"): 4}


def test_negative_halves_of_an_address() -> None:
    """bpftrace prints unsigned halves above 2^63 as negative numbers."""
    high = int.from_bytes(bytes.fromhex("fe80000000000000"), "little")
    low = int.from_bytes(bytes.fromhex("00000000000000ff"), "little") - 2**64
    (dump,) = read([BEGIN, bpf_map("@client_bytes", {f"3,{high},{low}": 1}), END])
    assert dump.client_bytes == {(RECEIVE, "fe80::ff"): 1}


def test_big_endian_machine() -> None:
    reader = DumpReader("big")
    high, low = int.from_bytes(bytes(8), "big"), 0x0000FFFF_0A000007
    for line in (BEGIN, bpf_map("@client_bytes", {f"3,{high},{low}": 1})):
        reader.read_line(line)
    dump = reader.read_line(END)
    assert isinstance(dump, Dump)
    assert dump.client_bytes == {(RECEIVE, "10.0.0.7"): 1}


def test_lost_events_spoil_the_dump_and_are_told() -> None:
    reader = DumpReader("little")
    reader.read_line(BEGIN)
    reader.read_line(TOTALS)
    lost = reader.read_line('{"type": "lost_events", "data": {"events": 3}}')
    assert lost == LostEvents(3)
    with pytest.raises(DumpError, match="lost"):
        reader.read_line(END)
    assert isinstance(reader.read_line(END), Dump)  # the next one is read afresh


def test_torn_line_spoils_the_dump() -> None:
    reader = DumpReader("little")
    reader.read_line(BEGIN)
    with pytest.raises(DumpError, match="not a record"):
        reader.read_line(CLIENTS[:40])
    with pytest.raises(DumpError, match="incomplete"):
        reader.read_line(END)


def test_dump_before_any_begin_mark_is_refused() -> None:
    with pytest.raises(DumpError, match="begin mark"):
        DumpReader("little").read_line(END)


def test_lost_end_mark_does_not_mix_two_dumps() -> None:
    """Totals of the second dump, without its clients, do not meet the clients of the first."""
    (dump,) = read([BEGIN, TOTALS, CLIENTS, bpf_map("@total_bytes", {"3": 9}), END])
    assert dump.total_bytes == {RECEIVE: 9}
    assert dump.client_bytes == {}


def test_unknown_records_and_maps_are_passed_over() -> None:
    unknown = ['{"type": "attached_probes", "count": 5}', '{"type": "new", "x": [1]}', "", "  "]
    (dump,) = read([*unknown, BEGIN, TOTALS, bpf_map("@sent_bytes", {"1": 5}), CLIENTS, END])
    assert dump == Dump(1000, 2000, {RECEIVE: 7}, {(RECEIVE, "127.0.0.1"): 7})


@pytest.mark.parametrize(
    "line",
    [
        "ERROR: failed to open file",
        "[1, 2]",
        '{"type": 5}',
        printf("nfszbx end 12x\n"),
        printf("nfszbx end 99999999999999999999999\n"),
        bpf_map("@total_bytes", 5),
        "[" * 100_000,
        '{"type": "printf", "data": "nfszbx end 1\\n"} trailing',
    ],
)
def test_damaged_line(line: str) -> None:
    reader = DumpReader("little")
    reader.read_line(BEGIN)
    with pytest.raises(DumpError):
        reader.read_line(line)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("@total_bytes", {"11": 1}),
        ("@total_bytes", {"0": 1}),
        ("@total_bytes", {"x": 1}),
        ("@total_bytes", {"3": -1}),
        ("@total_bytes", {"3": True}),
        ("@total_bytes", {"3": 1.5}),
        ("@total_bytes", {"3": "0x10"}),
        ("@total_bytes", {"3": 2**64}),
        ("@total_bytes", {"3": None}),
        ("@client_bytes", {"3": 1}),
        ("@client_bytes", {"3,0,0,0": 1}),
        ("@client_bytes", {"3,0,٣": 1}),
    ],
)
def test_damaged_content(name: str, content: object) -> None:
    reader = DumpReader("little")
    reader.read_line(BEGIN)
    reader.read_line(bpf_map(name, content))
    with pytest.raises(DumpError):
        reader.read_line(END)


@pytest.mark.parametrize("content", [{"11": 1}, {"1": -1}, {"1": None}])
def test_damaged_counters_of_the_audit_refuse_no_dump(content: object) -> None:
    (dump,) = read([BEGIN, TOTALS, CLIENTS, bpf_map("@closed_bytes", content), END])
    assert dump.closed_bytes is None
    assert dump.total_bytes


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
RECORDS = st.builds(
    lambda kind, data: json.dumps({"type": kind, "data": data}),
    st.sampled_from(["map", "printf", "lost_events", "attached_probes", "hist"]) | st.text(),
    JSON | st.dictionaries(st.sampled_from(["@total_bytes", "@client_bytes"]), JSON),
)
RECORDED = st.sampled_from(
    [line for path in sorted(STREAMS.iterdir()) for line in stream(path.stem)]
)
TORN = st.builds(lambda line, start, end: line[start:end], RECORDED, st.integers(0), st.integers(0))


@given(st.lists(st.text() | RECORDS | RECORDED | TORN, max_size=30))
def test_only_dump_errors_escape_and_only_valid_dumps_come_out(lines: list[str]) -> None:
    reader = DumpReader("little")
    for line in lines:
        try:
            dump = reader.read_line(line)
        except DumpError:
            continue
        if isinstance(dump, Dump):
            assert dump.begin_ns <= dump.end_ns
            assert set(dump.total_bytes) <= set(SLOTS)
            assert all(0 <= count < 2**64 for count in dump.total_bytes.values())
            assert all(count >= 0 for count in dump.client_bytes.values())

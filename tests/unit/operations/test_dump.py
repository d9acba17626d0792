"""Lines to dumps of operations: what bpftrace prints, and whatever else a line may be."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfszbx.errors import DumpError, LineError
from nfszbx.operations.dump import (
    Call,
    DataOperation,
    Kind,
    OperationsDump,
    OperationsDumpReader,
    Origin,
    Request,
)
from nfszbx.records import LostEvents

RECORDED = sorted((Path(__file__).parents[2] / "fixtures" / "operations").glob("maps-*.jsonl"))
READ = 0x35161909  # SEQUENCE PUTFH READ GETATTR
V3, V4 = 3 << 56, 4 << 56
LOW = 0x0700000A_FFFF0000  # 10.0.0.7 in a little-endian memory


def printf(text: str) -> str:
    return json.dumps({"type": "printf", "data": text})


def record(name: str, content: object, kind: str = "map") -> str:
    return json.dumps({"type": kind, "data": {name: content}})


def times(count: object, total: object) -> dict[str, object]:
    return {"count": count, "average": 5, "total": total}


BEGIN, END = printf("nfszbx begin 1000\n"), printf("nfszbx end 2000\n")


def read(*lines: str) -> OperationsDump:
    reader = OperationsDumpReader("little")
    for line in (BEGIN, *lines):
        assert reader.read_line(line) is None
    dump = reader.read_line(END)
    assert isinstance(dump, OperationsDump)
    return dump


def read_request(word: int, shape: int, *rest: int) -> tuple[Request, Origin]:
    numbers = (word, shape, *(rest or (0, LOW, 0, 0, 0)))
    ((key, _),) = read(record("@requests", {",".join(map(str, numbers)): 1})).requests.items()
    return key


@pytest.mark.parametrize("path", RECORDED, ids=[path.stem for path in RECORDED])
def test_recorded_maps(path: Path) -> None:
    reader = OperationsDumpReader("little")
    dumps = [reader.read_line(line) for line in path.read_text().splitlines()]
    (dump,) = [each for each in dumps if each is not None]
    assert isinstance(dump, OperationsDump)
    v4 = Origin("10.0.0.7", 30, 0, 1000)
    v3 = Origin("fe80::ff", 31, 7, 0)
    assert dump.requests == {
        (Request(4, 1, 0, Kind.EXECUTED, 0, READ), v4): 1,
        (Request(4, 1, 0, Kind.EXECUTED, 2, READ), v4): 1,
        (Request(3, 0, 0, Kind.EXECUTED, 0, 6), v3): 1,
    }
    assert dump.moved_bytes == {
        (DataOperation(4, 1, 25), v4): 4096,
        (DataOperation(3, 0, 6), v3): 2**53 + 1,
    }
    times = {(Call(4, 1, READ), "::"): {3: 1, 13: 1}, (Call(3, 0, 6), "::"): {0: 1, 1: 1}}
    assert dump.latency == times
    assert dump.spent_ns == dict(zip(times, (5_005_000, 2**53 + 1), strict=True))
    assert (dump.waits, dump.waited_ns) == ({0: 1, 1: 1}, 1000)
    assert 0 < dump.end_ns - dump.begin_ns < 10**9


def test_parts_of_the_first_word() -> None:
    word = V4 | 2 << 48 | 3 << 40 | 0x38270000
    assert read_request(word, 9)[0] == Request(4, 2, 3, Kind.EXECUTED, 10040, 9)
    assert read_request(V3 | 4 << 32, 1)[0].kind is Kind.ACL
    assert read_request(V4 | 1 << 32, 1)[0].kind is Kind.CACHED


def test_big_endian_machine() -> None:
    reader = OperationsDumpReader("big")
    reader.read_line(BEGIN)
    reader.read_line(record("@requests", {f"{V3 | 70},6,0,{0xFFFF_0A000007},0,0,0": 2}))
    dump = reader.read_line(END)
    assert isinstance(dump, OperationsDump)
    assert dump.requests == {
        (Request(3, 0, 0, Kind.EXECUTED, 70, 6), Origin("10.0.0.7", 0, 0, 0)): 2
    }


def test_negative_elements_and_blanks() -> None:
    """bpftrace prints unsigned numbers above 2^63 as negative; blanks may be there or not."""
    content = {f"{V3}, 6, 0, {LOW}, -1, {2**63 - 2**64}, 0": 1}
    ((_, origin),) = read(record("@requests", content)).requests
    assert origin == Origin("10.0.0.7", 2**64 - 1, 2**63, 0)


def test_integers_as_strings() -> None:
    dump = read(
        record("@times", {f"{V3 | 2**47 - 1},6": times(str(2**60), str(2**63 - 1))}, "stats"),
        record("@waits", {"1": times("2", str(2**60))}, "stats"),
    )
    assert list(dump.latency.values()) == [{47: 2**60}]
    assert list(dump.spent_ns.values()) == [2**63 - 1]
    assert (dump.waits, dump.waited_ns) == ({1: 2}, 2**60)


def test_parts_that_are_left_out_are_0() -> None:
    dump = read(
        record("@requests", {f"{V3},6,0,{LOW},30,7": 1}),
        record("@moved", {f"{V3 | 6},0,{LOW},30,7": 1}),
        record("@times", {f"{V3 | 1},6": times(1, 1000), f"{V3 | 1},6,0,{LOW}": times(2, 3000)}),
    )
    origin = Origin("10.0.0.7", 30, 7, 0)
    assert [key[1] for table in (dump.requests, dump.moved_bytes) for key in table] == [origin] * 2
    assert dump.spent_ns == {(Call(3, 0, 6), "::"): 1000, (Call(3, 0, 6), "10.0.0.7"): 3000}


@pytest.mark.parametrize(("entries_of_time", "most"), [(1, 2), (2, 4)])
def test_entries_of_the_fullest_map(entries_of_time: int, most: int) -> None:
    """Each bucket of a time has one, or two: its number and its sum."""
    reader = OperationsDumpReader("little", entries_of_time)
    requests = record("@requests", {f"{V3},6,0,{LOW},30,7": 1})
    two = record("@times", {f"{V3 | bits},6": times(1, 1000) for bits in (1, 3)}, "stats")
    *_, dump = [reader.read_line(line) for line in (BEGIN, requests, two, END)]
    assert isinstance(dump, OperationsDump)
    assert dump.map_entries == most


def test_empty_maps() -> None:
    """An empty map may be printed or not."""
    assert read() == OperationsDump(1000, 2000)
    assert read(record("@waits", {}, "stats")) == OperationsDump(1000, 2000)


@pytest.mark.parametrize("total", [-7000, "-7000", 2**64 - 7000, str(2**64 - 7000)])
def test_negative_times_count_as_none(total: object) -> None:
    """Clocks that disagree by a little: the shortest time, and none of the sum."""
    content = {"0": times(3, 900), str(2**48 - 1): times(2, total)}
    dump = read(record("@waits", content, "stats"))
    assert (dump.waits, dump.waited_ns) == ({0: 5}, 900)


def test_last_dump() -> None:
    reader = OperationsDumpReader("little")
    reader.read_line(BEGIN)
    dump = reader.read_line(printf("nfszbx last 2000\n"))
    assert isinstance(dump, OperationsDump)
    assert dump.is_last


def test_lost_end_mark_does_not_mix_two_dumps() -> None:
    first = record("@waits", {"0": times(1, 5)})
    assert read(first, record("@requests", {})).waited_ns == 0


def test_lost_events_spoil_the_dump() -> None:
    reader = OperationsDumpReader("little")
    reader.read_line(BEGIN)
    lost = reader.read_line('{"type": "lost_events", "data": {"events": 3}}')
    assert lost == LostEvents(3)
    with pytest.raises(DumpError, match="lost"):
        reader.read_line(END)
    assert isinstance(reader.read_line(END), OperationsDump)


def test_keys_of_the_last_dump_are_known_and_no_others() -> None:
    """What is remembered is bounded by the kernel's map."""
    reader = OperationsDumpReader("little")
    reader.read_line(BEGIN)
    for client in range(20):
        reader.read_line(record("@requests", {f"{V3},6,0,{client},0,0,0": 1}))
        reader.read_line(END)
        assert len(reader._requests) == 1  # noqa: SLF001  nobody else's business


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("@requests", [1]),
        ("@moved", 5),
        ("@times", []),
        ("@waits", [{"min": 4, "max": 7, "count": 1}]),
        ("@waits", None),
    ],
)
def test_map_of_another_type(name: str, content: object) -> None:
    reader = OperationsDumpReader("little")
    reader.read_line(BEGIN)
    with pytest.raises(LineError):
        reader.read_line(record(name, content))
    with pytest.raises(DumpError):
        reader.read_line(END)


REQUEST = f"{V3},6,0,{LOW},0,0,0"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("@requests", {f"{V3},6,0,{LOW},0": 1}),
        ("@requests", {f"{V3},6,0,{LOW},0,0,0,0": 1}),
        ("@requests", {f"{V3},6,0,{LOW},0,0,x": 1}),
        ("@requests", {f"{5 << 56},6,0,{LOW},0,0,0": 1}),
        ("@requests", {f"{V3 | 5 << 32},6,0,{LOW},0,0,0": 1}),
        ("@requests", {f"{V4 | 4 << 32},1,0,{LOW},0,0,0": 1}),
        ("@requests", {f"{V4},{0x190003},0,{LOW},0,0,0": 1}),
        ("@requests", {REQUEST: -1}),
        ("@requests", {REQUEST: True}),
        ("@requests", {REQUEST: 1.5}),
        ("@requests", {REQUEST: None}),
        ("@requests", {REQUEST: 1, REQUEST.replace(",", ", "): 1}),
        ("@moved", {f"{V4 | 9},0,{LOW},0,0,0": 1}),
        ("@moved", {f"{V3 | 8},0,{LOW},0,0,0": 1}),
        ("@moved", {f"{V4 | 25},0,{LOW},0": 1}),
        ("@times", {f"{V3},6": 5}),
        ("@times", {f"{V3},6": [1, 2]}),
        ("@times", {f"{V3},6,0": times(1, 1)}),
        ("@times", {f"{V3}": times(1, 1)}),
        ("@times", {f"{V3 | 6},6": times(1, 1)}),
        ("@times", {f"{V4},{0x190003}": times(1, 1)}),
        ("@waits", {"4": times(1, 1)}),
        ("@waits", {"x": times(1, 1)}),
        ("@waits", {"0": {"count": 1}}),
        ("@waits", {"0": {"total": 1}}),
        ("@waits", {"0": times(-1, 1)}),
        ("@waits", {"0": times(count=True, total=1)}),
        ("@waits", {"0": times(1, total=True)}),
        ("@waits", {"0": times(1, 1.5)}),
        ("@waits", {"0": times(1, "x")}),
        ("@waits", {"0": times(1, -1)}),
        ("@waits", {"0": times(1, 2**63)}),
    ],
)
def test_damaged_content(name: str, content: object) -> None:
    reader = OperationsDumpReader("little")
    reader.read_line(BEGIN)
    reader.read_line(record(name, content))
    with pytest.raises(DumpError):
        reader.read_line(END)
    assert isinstance(reader.read_line(END), OperationsDump)


NAMES = ["@requests", "@moved", "@times", "@waits"]
NUMBERS = st.integers(-(2**64), 2**65) | st.sampled_from([V3, V4, V4 | 25, 0, READ, 6])
KEYS = st.lists(NUMBERS, min_size=1, max_size=8).map(lambda key: ",".join(map(str, key)))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text() | KEYS | st.sampled_from(["count", "total"]), inner)
    ),
    max_leaves=8,
)
RECORDS = st.builds(record, st.sampled_from(NAMES), JSON, st.sampled_from(["map", "stats"]))
LINES = st.sampled_from([line for path in RECORDED for line in path.read_text().splitlines()])
TORN = st.builds(lambda line, start, end: line[start:end], LINES, st.integers(0), st.integers(0))


@given(st.lists(st.text() | RECORDS | LINES | TORN | st.just(BEGIN) | st.just(END), max_size=30))
def test_only_dump_errors_escape_and_only_valid_dumps_come_out(lines: list[str]) -> None:
    reader = OperationsDumpReader("little")
    for line in lines:
        try:
            dump = reader.read_line(line)
        except DumpError:
            continue
        if isinstance(dump, OperationsDump):
            assert dump.begin_ns <= dump.end_ns
            counts = [*dump.requests.values(), *dump.moved_bytes.values(), *dump.waits.values()]
            counts += [count for each in dump.latency.values() for count in each.values()]
            assert all(0 <= count < 2**64 for count in counts)
            assert all(spent >= 0 for spent in (*dump.spent_ns.values(), dump.waited_ns))

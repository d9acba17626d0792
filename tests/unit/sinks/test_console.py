"""The console: a table for eyes, lines of JSON for programs."""

import io
import json
import os
from dataclasses import replace

import pytest
from rich.console import Console

from nfszbx import catalog
from nfszbx.errors import SinkGoneError, SinkRefusedError
from nfszbx.samples import Sample, Samples
from nfszbx.sinks.console import JsonLinesSink, TableSink
from nfszbx.sinks.operations_table import _format_seconds
from tests.operations import make_operations


def samples(clients: int, *, complete: bool = True) -> Samples:
    """Client number N receives N million bytes in every second."""
    rows = [
        sample
        for number in range(clients)
        for sample in (
            Sample(
                catalog.CLIENT_RECEIVE_BYTES, ("smbd", "tcp", f"10.0.0.{number}"), number * 10**6
            ),
            Sample(catalog.CLIENT_RECEIVE_RATE, ("smbd", "tcp", f"10.0.0.{number}"), number * 1e6),
        )
    ]
    total = Sample(catalog.RECEIVE_BYTES, ("smbd", "tcp"), 5_000_000)
    other = Sample(catalog.CLIENT_RECEIVE_BYTES, ("smbd", "tcp", "other"), 0)
    return Samples(0.0, complete, (total, *rows, other))


def show(shown: Samples, height: int = 24, width: int = 100) -> str:
    stream = io.StringIO()
    sink = TableSink(Console(file=stream, force_terminal=True, width=width, height=height))
    sink.deliver(shown)
    sink.close()
    return stream.getvalue()


def test_table_has_the_busiest_clients_first_and_as_many_as_fit() -> None:
    text = show(samples(50), height=20)
    assert text.index("10.0.0.49") < text.index("10.0.0.48")
    assert "10.0.0.1 " not in text
    assert "and 39 more clients" in text
    assert "49.0 MB" in text


def test_table_leaves_out_an_empty_other_and_unknown_rates() -> None:
    text = show(samples(2))
    assert "other" not in text
    assert "more clients" not in text


def test_narrow_table_keeps_the_address_whole() -> None:
    address = "2001:db8:1234:5678:9abc:def0:1234:5678"
    row = Sample(catalog.CLIENT_RECEIVE_RATE, ("smbd", "tcp", address), 1e6)
    text = show(Samples(0.0, complete=True, samples=(row,)), width=80)
    assert address in text
    assert "transmitted" not in text
    assert "transmitted" in show(samples(1))


def test_table_says_when_an_interval_is_not_complete() -> None:
    assert "incomplete" in show(samples(1, complete=False))
    assert "incomplete" not in show(samples(1))


def test_operations_stand_below_while_there_is_room() -> None:
    """Also after intervals that have nothing new of them."""
    stream = io.StringIO()
    sink = TableSink(Console(file=stream, force_terminal=True, width=100, height=24))
    sink.deliver(replace(samples(50), operations=make_operations()))
    sink.deliver(samples(50))
    sink.close()
    text = stream.getvalue().rpartition("nfszbx  ")[2]
    assert "NFS operations  (0.2 of 8 threads busy)" in text
    assert text.index("10.0.0.49") < text.index("READ")
    assert "256 µs" in text
    assert "10.0.0.41" in text
    assert "10.0.0.40" not in text


def test_operations_give_way_to_clients() -> None:
    text = show(replace(samples(50), operations=make_operations()), height=17)
    assert "NFS operations" not in text
    assert "10.0.0.43" in text
    assert "NFS operations" in show(replace(samples(50), operations=make_operations()), height=18)
    assert "NFS operations" not in show(replace(samples(1), operations=()))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(6.4e-05, "64 µs"), (0.004096, "4.1 ms"), (2.097152, "2.1 s"), (0.0, "0 µs"), (None, "")],
)
def test_times(seconds: float | None, text: str) -> None:
    assert _format_seconds(seconds) == text


def test_json_lines() -> None:
    stream = io.StringIO()
    sink = JsonLinesSink(stream)
    sink.deliver(samples(1))
    sink.deliver(samples(2))
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert len(first["clients"]) == 2
    assert len(second["clients"]) == 3


def test_full_disk_is_refused_with_its_cause() -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123  a device
        sink = JsonLinesSink(full)
        with pytest.raises(SinkRefusedError, match="No space left"):
            sink.deliver(samples(1))
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())  # so that closing works


def test_reader_that_went_away() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream, pytest.raises(SinkGoneError):
        JsonLinesSink(stream).deliver(samples(1))

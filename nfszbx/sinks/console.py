"""Shows each interval: a live table on a terminal, otherwise a line of JSON on standard output."""

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, TextIO

from rich.console import Console, Group
from rich.filesize import decimal
from rich.live import Live
from rich.table import Table

from nfszbx.clock import local_time_text
from nfszbx.document import make_document
from nfszbx.errors import SinkGoneError, SinkRefusedError
from nfszbx.operation_sums import OperationSums, sum_operations
from nfszbx.samples import Samples
from nfszbx.sinks.operations_table import FRAME_LINES as OPERATIONS_FRAME_LINES
from nfszbx.sinks.operations_table import make_operations_table
from nfszbx.streams import redirect_to_nowhere
from nfszbx.traffic import OTHER

_FRAME_LINES = 8
"""Lines of the screen that are not clients: title, head, rules, and room for a message."""

_MIN_CLIENTS = 3

_COLUMNS = (
    ("receive/s", "receive_bytes_per_second"),
    ("transmit/s", "transmit_bytes_per_second"),
    ("received", "receive_bytes_total"),
    ("transmitted", "transmit_bytes_total"),
)
_FULL_WIDTH = 100
"""Narrower terminals show rates only, so that an IPv6 address is never cut."""


class JsonLinesSink:
    """One line of JSON for each interval."""

    name = "console"

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def deliver(self, samples: Samples) -> None:
        """Write the document of the interval."""
        try:
            print(json.dumps(make_document(samples)), file=self._stream, flush=True)
        except BrokenPipeError:
            redirect_to_nowhere(self._stream)
            raise SinkGoneError("nobody reads standard output any more") from None
        except OSError as error:
            raise SinkRefusedError(f"standard output: {error.strerror}") from None

    def close(self) -> None:
        """Write what a full disk has held back, or give it up."""
        try:
            self._stream.flush()
        except OSError:
            redirect_to_nowhere(self._stream)


class TableSink:
    """A table that is redrawn in place; the busiest clients first, as many as fit."""

    name = "console"

    def __init__(self, console: Console) -> None:
        self._console = console
        # Messages on the same terminal go above the table; a file gets its own.
        self._live = Live(console=console, auto_refresh=False, redirect_stderr=sys.stderr.isatty())
        self._live.start()
        self._sums: OperationSums | None = None
        """The newest: they come at a slower pace."""

    def deliver(self, samples: Samples) -> None:
        """Redraw."""
        try:
            if samples.operations is not None:
                self._sums = sum_operations(samples.operations)
            document = make_document(replace(samples, operations=None))
            room = self._console.height - _FRAME_LINES - len(document["services"])
            operations = self._sums and make_operations_table(self._sums, room - _MIN_CLIENTS)
            if operations:
                room -= operations.row_count + OPERATIONS_FRAME_LINES
            traffic = self._make_table(samples, document, room)
            shown = Group(traffic, operations) if operations else traffic
            self._live.update(shown, refresh=True)
        except OSError as error:
            raise SinkGoneError(f"the terminal is gone: {error.strerror}") from None

    def close(self) -> None:
        """Leave the last table on the screen and give the terminal back."""
        with suppress(OSError):  # it is gone
            self._live.stop()

    def _make_table(self, samples: Samples, document: Mapping[str, Any], room: int) -> Table:
        seconds = document["health"].get("interval_seconds")
        length = f"  ({seconds:.1f} s)" if seconds else ""
        note = "" if document["complete"] else "  incomplete: bpftrace did not run all the time"
        table = Table(title=f"nfszbx  {local_time_text(samples.unix_seconds)}{length}{note}")
        table.add_column("service", no_wrap=True)
        table.add_column("client", no_wrap=True, overflow="fold")
        columns = _COLUMNS if self._console.width >= _FULL_WIDTH else _COLUMNS[:2]
        for heading, _ in columns:
            table.add_column(heading, justify="right", no_wrap=True)
        for service, values in document["services"].items():
            table.add_row(service, "all", *_cells(columns, values), style="bold")
        table.add_section()
        clients = sorted(
            (row for row in document["clients"] if row["client"] != OTHER or _volume(row)),
            key=lambda row: (-_speed(row), -_volume(row), row["id"]),
        )
        room = max(_MIN_CLIENTS, room)
        for row in clients[:room]:
            table.add_row(row["id"].partition(" ")[0], row["client"], *_cells(columns, row))
        if len(clients) > room:
            table.caption = f"and {len(clients) - room} more clients"
        return table


def make_console_sink() -> JsonLinesSink | TableSink:
    """A table when standard output is a terminal that can move its cursor."""
    console = Console()
    if console.is_terminal and not console.is_dumb_terminal:
        return TableSink(console)
    return JsonLinesSink(sys.stdout)


def _cells(columns: Sequence[tuple[str, str]], values: Mapping[str, float]) -> list[str]:
    """In decimal multiples of a byte; an empty cell for what is not known."""
    return [_format_bytes(values.get(field)) for _, field in columns]


def _format_bytes(count: float | None) -> str:
    if count is None:
        return ""
    return decimal(round(count)) if count >= 1 else "0"


def _speed(row: dict[str, float]) -> float:
    return row.get("receive_bytes_per_second", 0) + row.get("transmit_bytes_per_second", 0)


def _volume(row: dict[str, float]) -> float:
    return row.get("receive_bytes_total", 0) + row.get("transmit_bytes_total", 0)

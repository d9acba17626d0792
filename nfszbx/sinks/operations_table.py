"""The busiest NFS operations, as a short table for the terminal."""

from rich.table import Table

from nfszbx import catalog_operations as catalog
from nfszbx.operation_sums import OperationSums

FRAME_LINES = 5
"""Lines that are not operations: title, head and rules."""
MAX_ROWS = 6

_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


def make_operations_table(sums: OperationSums, lines: int) -> Table | None:
    """None when nothing has happened, or so many lines are too few."""
    rate = catalog.OPERATION_RATE
    active = [(key, row) for key, row in sums.operations.items() if row.get(rate)]
    room = min(lines - FRAME_LINES, MAX_ROWS)
    if not active or room < 1:
        return None
    table = Table(title=f"NFS operations{_tell_threads(sums)}")
    for name in ("version", "operation"):
        table.add_column(name, no_wrap=True)
    for name in ("per second", "failed/s", "median", "95 %"):
        table.add_column(name, justify="right", no_wrap=True)
    for (version, operation), row in sorted(active, key=lambda item: -item[1][rate])[:room]:
        failed = row.get(catalog.ERROR_RATE)
        table.add_row(
            version,
            operation,
            f"{row[rate]:,.1f}",
            f"{failed:,.1f}" if failed else "",
            *(_format_seconds(row.get(m)) for m in (catalog.REQUEST_P50, catalog.REQUEST_P95)),
        )
    return table


def _tell_threads(sums: OperationSums) -> str:
    busy, threads = (sums.server.get(m) for m in (catalog.BUSY_THREADS, catalog.THREADS))
    return (
        "" if busy is None or threads is None else f"  ({busy:.1f} of {threads:.0f} threads busy)"
    )


def _format_seconds(seconds: float | None) -> str:
    """Three digits; an empty cell for what is not known."""
    if seconds is None:
        return ""
    scale, unit = next((each for each in _UNITS if seconds >= each[0]), _UNITS[-1])
    return f"{seconds / scale:.3g} {unit}"

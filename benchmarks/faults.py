"""Writes ``docs/reliability.md`` from the tables of states and from what the fault tests measured.

Run ``make faults``: it injects every fault, leaves the results in ``benchmarks/results/faults/``,
and calls this.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Any, TypeVar

from nfszbx.child import crash_loop, states, supervisor
from nfszbx.sinks import states as sink_states
from nfszbx.sinks.worker import MAX_BACK_OFF_SECONDS

REPOSITORY = Path(__file__).parent.parent
RESULTS = REPOSITORY / "benchmarks/results/faults"
TEMPLATE = REPOSITORY / "benchmarks/reliability.template.md"
RULES = REPOSITORY / "docs/prometheus-alerts.yml"
PAGE = REPOSITORY / "docs/reliability.md"
PARTS = ("bpftrace", "nfszbx", "machine", "sinks")
SECONDS_PER_MINUTE = 60

_State = TypeVar("_State", bound=IntEnum)
_Event = TypeVar("_Event", bound=StrEnum)


def main() -> None:
    """Write the page."""
    PAGE.write_text(render_page(), encoding="utf-8")
    print(f"wrote {PAGE}")


def render_page() -> str:
    """The page, from the results in the repository and the program's own tables."""
    rows = [json.loads(p.read_text(encoding="utf-8")) for p in sorted(RESULTS.glob("*.json"))]
    rows.sort(key=lambda row: PARTS.index(row["part"]))
    parts = {
        "FAULTS": "\n".join(_render_faults(rows)),
        "CHILD": "\n".join(_render_states(states.ChildState, states.TRANSITIONS)),
        "SINK": "\n".join(_render_sinks()),
        "RULES": RULES.read_text(encoding="utf-8").rstrip(),
        "MAX_BACK_OFF": f"{crash_loop.MAX_BACK_OFF_SECONDS:.0f}",
        "MAX_FAILURES": str(supervisor.MAX_FAILURES_AT_FIRST),
        "LOOP_ENDS": str(crash_loop.LOOP_ENDS),
        "LOOP_MINUTES": _minutes(crash_loop.LOOP_SECONDS),
        "REMINDER_MINUTES": _minutes(crash_loop.REMINDER_SECONDS),
        "CALM_MINUTES": _minutes(crash_loop.CALM_SECONDS),
        "SILENT_INTERVALS": str(supervisor.SILENT_INTERVALS),
        "START_TIMEOUT": f"{supervisor.START_TIMEOUT_SECONDS:.0f}",
    }
    text = TEMPLATE.read_text(encoding="utf-8")
    for name, part in parts.items():
        text = text.replace(name, part)
    return text


def _minutes(seconds: float) -> str:
    return f"{seconds / SECONDS_PER_MINUTE:.0f}"


def _render_faults(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    yield "| fault | injected by | lost, of what moved | recovered after | metric that shows it |"
    yield "|---|---|---:|---|---|"
    for row in rows:
        cells = (
            row["fault"] + (f"; {row['note']}" if row["note"] else ""),
            row["injection"],
            _render_loss(row["lost_bytes"], row["moved_bytes"]),
            _render_recovery(row["recovery_seconds"], row["recovery"]),
            _render_metric(row),
        )
        yield f"| {' | '.join(cells)} |"


def _render_loss(lost: int | None, moved: int | None) -> str:
    if lost is None or moved is None:
        return ""
    return f"{lost:,} of {moved:,}"


def _render_recovery(seconds: float | None, meaning: str) -> str:
    if seconds is None:
        return ""
    return f"{seconds:.1f} s" + (f" ({meaning})" if meaning else "")


def _render_metric(row: Mapping[str, Any]) -> str:
    if not row["metric"]:
        return ""
    values = [row[name] for name in ("before", "during", "after") if row[name] is not None]
    shown = " → ".join(f"{value:.10g}" for value in values)
    return f"`{row['metric']}`: {shown}"


def _render_states(
    kinds: type[_State], transitions: Mapping[tuple[_State, _Event], _State]
) -> Iterator[str]:
    yield "| state | what happens | next state |"
    yield "|---|---|---|"
    for state in kinds:
        ways: dict[_State, list[str]] = {}
        for (before, event), after in transitions.items():
            if before is state:
                ways.setdefault(after, []).append(f"`{event}`")
        for after, events in ways.items():
            yield f"| {_name(state)} | {', '.join(events)} | {_name(after)} |"


def _render_sinks() -> Iterator[str]:
    yield from _render_states(sink_states.SinkState, sink_states.TRANSITIONS)
    yield ""
    yield (
        "A sink that does not answer is tried again after 1, 2, 4 seconds and so on to "
        f"{MAX_BACK_OFF_SECONDS:.0f}; meanwhile values wait, those for Zabbix on disk. "
        "Of `gone` there is no way back: the reader of standard output has closed it."
    )


def _name(state: IntEnum) -> str:
    return f"{state.value} {state.name.lower().replace('_', ' ')}"


if __name__ == "__main__":
    main()

"""Asking programs that are, or are not, bpftrace."""

from pathlib import Path

import pytest

from nfszbx.kernel.bpftrace import read_bpftrace, read_function_exit
from nfszbx.kernel.facts import PRESENT, BpftraceFacts, Fact, Presence, absent
from tests.processes import write_program


def program(tmp_path: Path, script: str) -> str:
    return write_program(tmp_path / "bpftrace", script)


@pytest.mark.parametrize(
    ("words", "version"),
    [
        ("bpftrace v0.17.0", (0, 17, 0)),
        ("bpftrace v0.27.1-12-gabc", (0, 27, 1)),
        ("bpftrace v1.0", (1, 0, 0)),
    ],
)
def test_version(words: str, version: tuple[int, int, int], tmp_path: Path) -> None:
    facts = read_bpftrace(program(tmp_path, f"echo {words}"))
    assert facts.program.is_present
    assert facts.version == version


@pytest.mark.parametrize(
    ("script", "reason"),
    [("echo hello; echo you", "says 'hello'"), ("exit 3", "status 3")],
)
def test_not_bpftrace(script: str, reason: str, tmp_path: Path) -> None:
    facts = read_bpftrace(program(tmp_path, script))
    assert facts.program.is_absent
    assert reason in facts.program.reason


def test_missing(tmp_path: Path) -> None:
    assert "cannot be run" in read_bpftrace(str(tmp_path / "nowhere")).program.reason


# As `bpftrace --info` of 0.17 and of 0.23 print it.
COLUMNS = '''echo "  perf_event: yes                  fentry: {answer}"'''
LINES = '''printf "  perf_event: yes\\n  kfunc: {answer}\\n"'''


@pytest.mark.parametrize("layout", [COLUMNS, LINES])
@pytest.mark.parametrize(("answer", "presence"), [("yes", "present"), ("no", "absent")])
def test_function_exit_from_info(
    layout: str, answer: str, presence: Presence, tmp_path: Path
) -> None:
    path = program(tmp_path, layout.format(answer=answer))
    fact = read_function_exit(BpftraceFacts(PRESENT, path, (0, 17, 0)), PRESENT)
    assert fact.presence == presence


@pytest.mark.parametrize(("status", "presence"), [(0, "present"), (1, "absent")])
def test_function_exit_by_trial(status: int, presence: Presence, tmp_path: Path) -> None:
    """0.27 does not tell, so it is tried."""
    path = program(tmp_path, f'case "$1" in --info) echo nothing;; --dry-run) exit {status};; esac')
    fact = read_function_exit(BpftraceFacts(PRESENT, path, (0, 27, 0)), PRESENT)
    assert fact.presence == presence


@pytest.mark.parametrize(
    ("found", "privilege"),
    [(absent("no bpftrace"), PRESENT), (PRESENT, absent("not root"))],
)
def test_what_cannot_be_asked_is_unknown(found: Fact, privilege: Fact) -> None:
    fact = read_function_exit(BpftraceFacts(found, "/bin/false"), privilege)
    assert fact.presence is Presence.UNKNOWN

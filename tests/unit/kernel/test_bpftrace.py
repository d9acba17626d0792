"""Asking programs that are, or are not, bpftrace."""

from pathlib import Path

import pytest

from nfszbx.kernel.bpftrace import finds_btf, read_bpftrace, read_function_exit, read_info
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
    bpftrace = BpftraceFacts(PRESENT, program(tmp_path, layout.format(answer=answer)), (0, 17, 0))
    fact = read_function_exit(bpftrace, read_info(bpftrace, PRESENT))
    assert fact.presence == presence


@pytest.mark.parametrize(("status", "presence"), [(0, "present"), (1, "absent")])
def test_function_exit_by_trial(status: int, presence: Presence, tmp_path: Path) -> None:
    """0.27 does not tell, so it is tried."""
    path = program(tmp_path, f'case "$1" in --info) echo nothing;; --dry-run) exit {status};; esac')
    bpftrace = BpftraceFacts(PRESENT, path, (0, 27, 0))
    fact = read_function_exit(bpftrace, read_info(bpftrace, PRESENT))
    assert fact.presence == presence


@pytest.mark.parametrize(
    ("found", "privilege"),
    [(absent("no bpftrace"), PRESENT), (PRESENT, absent("not root"))],
)
def test_what_cannot_be_asked_is_unknown(found: Fact, privilege: Fact) -> None:
    bpftrace = BpftraceFacts(found, "/bin/false")
    info = read_info(bpftrace, privilege)
    assert read_function_exit(bpftrace, info).presence is Presence.UNKNOWN
    assert finds_btf(info)


@pytest.mark.parametrize(("answer", "found"), [("yes", True), ("no", False)])
def test_whether_it_finds_the_kernel_s_types(answer: str, found: bool) -> None:  # noqa: FBT001
    """As 0.17 says it; on Linux 5.10 it says no, though they are there."""
    info = f"Kernel features\n  Loop support: yes\n  btf: {answer}\n  map batch: yes\n"
    assert finds_btf(info) is found

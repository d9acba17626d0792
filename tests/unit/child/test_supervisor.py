"""Supervision of real processes that behave like bpftrace, well or badly."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from nfszbx.child import supervisor as supervisor_module
from nfszbx.child.crash_loop import LOOP_SECONDS, LoopNews
from nfszbx.child.process import ChildProcess
from nfszbx.child.states import ChildState, EndReason
from nfszbx.child.supervisor import Ended, Event, Line, Notice, Supervisor
from nfszbx.errors import BpftraceError
from nfszbx.script import Script
from tests.processes import wait_until_gone, write_program

SCRIPT = Script("BEGIN { }\n", {"BPFTRACE_MAX_MAP_KEYS": "64"})
LIMIT_SECONDS = 15.0

MakeProgram = Callable[[str], str]


@pytest.fixture
def make_program(tmp_path: Path) -> MakeProgram:
    """Makes an executable shell script; called as bpftrace is, its third argument is the script."""
    return partial(write_program, tmp_path / "bpftrace")


@pytest.fixture
def supervise(make_program: MakeProgram) -> Iterator[Callable[..., Supervisor]]:
    made = []

    def make(text: str, start_timeout_seconds: float = 60.0) -> Supervisor:
        program = make_program(text)
        made.append(Supervisor(lambda: ChildProcess(program, SCRIPT), 1, 0, start_timeout_seconds))
        return made[-1]

    yield make
    for supervisor in made:
        supervisor.kill()


def events_until(supervisor: Supervisor, enough: Callable[[list[Event]], object]) -> list[Event]:
    events: list[Event] = []
    deadline = time.monotonic() + LIMIT_SECONDS
    while not enough(events):
        assert time.monotonic() < deadline, events
        events += supervisor.poll()
    return events


def deliver(supervisor: Supervisor) -> None:
    """A child starts, and delivers with its first line."""
    events_until(supervisor, lambda events: any(isinstance(e, Line) for e in events))
    supervisor.note_dump()


def ends(events: list[Event]) -> list[Ended]:
    return [event for event in events if isinstance(event, Ended)]


def test_child_gets_the_script_in_memory_and_a_clean_environment(
    supervise: Callable[[str], Supervisor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the user's settings for bpftrace reaches it; standard output is a terminal."""
    monkeypatch.setenv("BPFTRACE_STRLEN", "7")
    supervisor = supervise(
        'echo "$1 $2 $3"; cat "$4"; env | grep BPFTRACE; [ -t 1 ] && echo terminal; echo oops >&2'
    )
    events = events_until(supervisor, ends)
    lines = [event.text for event in events if isinstance(event, Line)]
    assert lines == ["--no-warnings -f json", "BEGIN { }", "BPFTRACE_MAX_MAP_KEYS=64", "terminal"]
    assert Notice("oops") in events


def test_exit_is_told_with_status_and_last_error(supervise: Callable[[str], Supervisor]) -> None:
    supervisor = supervise("echo ERROR: no luck >&2; exit 3")
    (end,) = ends(events_until(supervisor, ends))
    assert (end.reason, end.detail) == (EndReason.EXITED, "exit status 3: ERROR: no luck")


def test_kill_is_told_with_the_signal(supervise: Callable[[str], Supervisor]) -> None:
    supervisor = supervise("kill -SEGV $$")
    (end,) = ends(events_until(supervisor, ends))
    assert (end.reason, end.detail) == (EndReason.KILLED, "killed by SIGSEGV")


def test_output_before_the_end_is_read_to_its_end(supervise: Callable[[str], Supervisor]) -> None:
    """A long dump and an exit right after it; a line without its end is left out."""
    supervisor = supervise("for i in {1..9000}; do echo line $i; done; printf torn")
    lines = [e.text for e in events_until(supervisor, ends) if isinstance(e, Line)]
    assert len(lines) == 9_000
    assert lines[-1] == "line 9000"


def test_back_off_doubles_until_a_dump_comes(
    supervise: Callable[[str], Supervisor], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(supervisor_module, "monotonic_seconds", lambda: clock[0])
    monkeypatch.setattr("nfszbx.child.supervisor.time.sleep", lambda _: None)
    supervisor = supervise("echo dump; exit 1")
    deliver(supervisor)
    waits = []
    for _ in range(9):
        (end,) = ends(events_until(supervisor, ends))
        waits.append(end.back_off_seconds)
        if end.back_off_seconds:
            assert list(supervisor.poll()) == []
        clock[0] += end.back_off_seconds + 0.001
    assert waits == [0, 1, 2, 4, 8, 16, 32, 60, 60]
    clock[0] += LOOP_SECONDS
    deliver(supervisor)
    assert ends(events_until(supervisor, ends))[0].back_off_seconds == 0


def test_program_that_never_works_is_given_up(
    supervise: Callable[[str], Supervisor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "MAX_FAILURES_AT_FIRST", 2)
    supervisor = supervise("echo ERROR: no luck >&2; exit 3")
    with pytest.raises(BpftraceError, match=r"failed 2 times .* exit status 3: ERROR: no luck"):
        events_until(supervisor, lambda _: False)
    assert supervisor.pid is None


def test_silence_after_a_dump_ends_the_child(supervise: Callable[[str], Supervisor]) -> None:
    supervisor = supervise("echo ready; while :; do sleep 0.2; echo not a dump; done")
    events_until(supervisor, lambda events: events)
    pid = supervisor.pid
    assert pid
    supervisor.note_dump()
    started = time.monotonic()
    (end,) = ends(events_until(supervisor, ends))
    assert end.reason is EndReason.SILENT
    assert time.monotonic() - started >= 2.9
    assert not Path(f"/proc/{pid}").exists()


def test_pause_of_nfszbx_itself_is_not_the_childs_silence(
    supervise: Callable[[str], Supervisor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both stood still and go on, nfszbx first: the child gets what it had left."""
    clock = [1000.0]
    monkeypatch.setattr(supervisor_module, "monotonic_seconds", lambda: clock[0])
    supervisor = supervise("echo ready; exec sleep 60")
    deliver(supervisor)
    clock[0] += 3600
    assert list(supervisor.poll(0)) == []
    silent_seconds = 0.0
    while not (seen := ends(list(supervisor.poll(0)))):
        clock[0] += 0.5
        silent_seconds += 0.5
    assert seen[0].reason is EndReason.SILENT
    assert silent_seconds == pytest.approx(3.0, abs=0.5)


def test_child_that_never_delivers_is_given_up(supervise: Callable[..., Supervisor]) -> None:
    supervisor = supervise("exec sleep 60", start_timeout_seconds=-2.5)
    (end,) = ends(events_until(supervisor, ends))
    assert end.reason is EndReason.START_TIMEOUT


def test_stop_lets_the_child_say_its_last_word(supervise: Callable[[str], Supervisor]) -> None:
    supervisor = supervise(
        "trap 'echo last word; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    )
    events_until(supervisor, lambda events: events)
    assert Line("last word") in list(supervisor.stop())
    assert supervisor.pid is None
    assert list(supervisor.stop()) == []


def test_stop_kills_a_child_that_does_not_listen(
    supervise: Callable[[str], Supervisor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "STOP_TIMEOUT_SECONDS", 0.3)
    supervisor = supervise("trap '' TERM; echo ready; while :; do sleep 0.05; done")
    events_until(supervisor, lambda events: events)
    pid = supervisor.pid
    list(supervisor.stop())
    assert not Path(f"/proc/{pid}").exists()


def test_program_that_cannot_be_started(tmp_path: Path) -> None:
    missing = str(tmp_path / "nowhere")
    supervisor = Supervisor(lambda: ChildProcess(missing, SCRIPT), interval_seconds=1)
    (end,) = ends(list(supervisor.poll()))
    assert end.reason is EndReason.NOT_STARTED
    assert missing in end.detail
    with pytest.raises(BpftraceError):
        ChildProcess(missing, SCRIPT)


@pytest.mark.parametrize("call", ["memfd_create", "pipe2"])
def test_machine_without_descriptors_is_a_failed_start(
    call: str, make_program: MakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which is tried again, like any other, and leaves nothing open."""

    def refuse(*_: object) -> None:
        raise OSError(24, "Too many open files")

    program = make_program("exit 0")
    before = len(list(Path("/proc/self/fd").iterdir()))
    monkeypatch.setattr(f"nfszbx.child.process.os.{call}", refuse)
    with pytest.raises(BpftraceError, match=r"cannot be started: .*Too many open files"):
        ChildProcess(program, SCRIPT)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_restarts_leave_no_descriptor_behind(
    supervise: Callable[[str], Supervisor], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(supervisor_module, "monotonic_seconds", lambda: clock[0])
    supervisor = supervise("echo dump; exit 0")
    deliver(supervisor)
    events_until(supervisor, ends)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        clock[0] += LOOP_SECONDS  # no back-off
        deliver(supervisor)
        events_until(supervisor, ends)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_child_dies_with_its_parent_even_without_a_terminal(make_program: MakeProgram) -> None:
    """It ignores the hang-up of its terminal; the kernel kills it for the parent's death."""
    program = make_program("trap '' HUP; echo $$; while :; do sleep 0.05; done")
    code = (
        "import os\n"
        "from nfszbx.child.process import ChildProcess\n"
        "from nfszbx.script import Script\n"
        f"child = ChildProcess({program!r}, Script('', {{}}))\n"
        "print(*child.read_lines(10), flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    parent = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=False)
    pid = int(parent.stdout)
    assert wait_until_gone(pid)


@pytest.mark.parametrize(
    ("output", "most_bytes"), [("tr '\\0' x </dev/zero", 1_000_000), ("exec yes garbage", 8_000)]
)
def test_output_without_end_ends_the_child(
    output: str,
    most_bytes: int,
    supervise: Callable[[str], Supervisor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One line, or many: memory stays bounded."""
    monkeypatch.setattr(supervisor_module, "MAX_OUTPUT_BYTES", 1_000_000)
    monkeypatch.setattr(supervisor_module, "MAX_OUTPUT_LINES", 800)
    supervisor = supervise(output)
    end = ends(events_until(supervisor, ends))[0]
    assert end.reason is EndReason.FLOODING
    found = int(end.detail.partition(" ")[0].replace(",", ""))
    assert most_bytes < found < most_bytes + 100_000


def test_output_between_dumps_is_no_flood(
    supervise: Callable[[str], Supervisor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it goes on: each usable dump begins the count anew."""
    monkeypatch.setattr(supervisor_module, "MAX_OUTPUT_BYTES", 10_000)
    supervisor = supervise("for i in {1..100}; do printf '%900s\\n' dump; done")
    seen: list[Event] = []
    while not ends(seen):
        for event in supervisor.poll():
            seen.append(event)
            if isinstance(event, Line):
                supervisor.note_dump()
    assert sum(isinstance(event, Line) for event in seen) == 100
    assert ends(seen)[0].reason is EndReason.EXITED


def test_map_that_is_full_is_no_flood(
    supervise: Callable[[str], Supervisor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bpftrace 0.23 and later has a line for each update that finds no room."""
    monkeypatch.setattr(supervisor_module, "MAX_OUTPUT_LINES", 100)
    error = '{"type": "helper_error", "msg": "Map full", "helper": "map_update_elem"}'
    supervisor = supervise(f"for i in {{1..2000}}; do echo '{error}'; done; echo dump")
    monkeypatch.setattr(supervisor, "_max_output_bytes", 10_000)
    seen = events_until(supervisor, ends)
    assert [event.text for event in seen if isinstance(event, Line)] == ["dump"]
    assert ends(seen)[0].reason is EndReason.EXITED


def test_flood_does_not_hold_up_the_stop(
    supervise: Callable[[str], Supervisor], monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor = supervise("trap '' TERM; while :; do echo ready; done")
    events_until(supervisor, lambda events: events)
    monkeypatch.setattr(supervisor, "_max_output_bytes", 100_000)
    monkeypatch.setattr(supervisor_module, "STOP_TIMEOUT_SECONDS", 1e9)
    size = sum(len(event.text) for event in supervisor.stop() if isinstance(event, Line))
    assert size < 200_000
    assert supervisor.state is ChildState.WAITING


def test_children_that_deliver_and_end_are_a_crash_loop(
    supervise: Callable[[str], Supervisor], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(supervisor_module, "monotonic_seconds", lambda: clock[0])
    monkeypatch.setattr("nfszbx.child.supervisor.time.sleep", lambda _: None)
    supervisor = supervise("echo dump; exit 1")
    found = []
    for _ in range(6):
        deliver(supervisor)
        (end,) = ends(events_until(supervisor, ends))
        found.append(end)
        clock[0] += end.back_off_seconds + 1
    assert [end.news for end in found] == [LoopNews.SINGLE] * 4 + [LoopNews.BEGINS, LoopNews.KNOWN]
    assert [end.back_off_seconds for end in found] == [0, 0, 0, 0, 1, 2]
    assert "the end number 5 within 10 minutes, a crash loop" in found[4].describe()
    assert supervisor.is_crash_loop


def test_child_ends_with_its_terminal(make_program: MakeProgram) -> None:
    """One that closes its output and goes on is of no more use."""
    child = ChildProcess(make_program("exec </dev/null >/dev/null 2>&1; exec sleep 60"), SCRIPT)
    deadline = time.monotonic() + LIMIT_SECONDS
    while not child.ended:
        assert time.monotonic() < deadline
        child.read_lines(0.2)
    assert child.was_killed
    assert child.describe_end() == f"killed by {signal.SIGKILL.name}"
    child.close()
    child.close()  # harmless

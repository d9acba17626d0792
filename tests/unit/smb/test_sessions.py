"""Against programs that do what smbstatus may do."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from nfszbx import catalog_smb
from nfszbx.config import SmbConfig
from nfszbx.samples import Sample
from nfszbx.smb import command, sessions
from nfszbx.smb.sessions import SmbSessions

FIXTURES = Path(__file__).parents[2] / "fixtures/smbstatus"
LIKE_SAMBA = f"""
case "$*" in
  *--shares*) cat {FIXTURES}/shares-*;;
  *--numeric*) cat {FIXTURES}/numeric-*;;
  *) cat {FIXTURES}/processes-*;;
esac
"""
BOTH = SmbConfig(sessions=True, shares=True)
UP = Sample(catalog_smb.SESSIONS_UP, (), 1)
DOWN = Sample(catalog_smb.SESSIONS_UP, (), 0)
Install = Callable[[str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a script in smbstatus' place, that notes what it is asked for."""

    def write(script: str) -> None:
        program = tmp_path / "smbstatus"
        program.write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/asked\n{script}\n')
        program.chmod(0o755)
        monkeypatch.setattr(sessions, "find_program", lambda _name: program)

    return write


@pytest.fixture(autouse=True)
def _leaves_nothing_open() -> Iterator[None]:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  no need of paths
    yield
    # Less where an earlier test had something that is closed only now.
    assert len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208


def wait(of: SmbSessions, seconds: float = 10.0) -> tuple[Sample, ...]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        begin = time.monotonic()
        samples = of.poll()
        assert time.monotonic() - begin < 0.5
        if samples is not None:
            return samples
        time.sleep(0.01)
    raise TimeoutError


def is_running(program: str) -> bool:
    """Or anything that was started with it."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if program.encode() in path.read_bytes():
                return True
    return False


def expect_gone(program: Path) -> None:
    """What was killed is gone in a moment."""
    deadline = time.monotonic() + 5
    while is_running(str(program)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_rows_of_users_and_shares(install: Install) -> None:
    install(LIKE_SAMBA)
    assert wait(SmbSessions(BOTH)) == (
        UP,
        Sample(catalog_smb.SESSIONS, ("127.0.2.1", "games"), 2),
        Sample(catalog_smb.SESSIONS, ("127.0.2.2", "games"), 1),
        Sample(catalog_smb.SESSIONS, ("::1", "nobody"), 1),
        Sample(catalog_smb.TREE_CONNECTS, ("127.0.2.1", "Team Fotos ÄÖ"), 1),
        Sample(catalog_smb.TREE_CONNECTS, ("127.0.2.1", "share"), 1),
        Sample(catalog_smb.TREE_CONNECTS, ("127.0.2.2", "share"), 1),
        Sample(catalog_smb.TREE_CONNECTS, ("::1", "share"), 1),
    )


def test_names_of_users_are_not_even_looked_up_for_shares(install: Install, tmp_path: Path) -> None:
    install(LIKE_SAMBA)
    samples = wait(SmbSessions(SmbConfig(shares=True)))
    assert {sample.metric for sample in samples} == {
        catalog_smb.SESSIONS_UP,
        catalog_smb.TREE_CONNECTS,
    }
    assert (tmp_path / "asked").read_text() == "--json --processes --numeric\n--json --shares\n"


def test_users_alone_take_one_run(install: Install, tmp_path: Path) -> None:
    install(LIKE_SAMBA)
    assert len(wait(SmbSessions(SmbConfig(sessions=True)))) == 4
    assert (tmp_path / "asked").read_text() == "--json --processes\n"


def test_nothing_runs_unless_it_is_wanted(install: Install, tmp_path: Path) -> None:
    install(LIKE_SAMBA)
    poller = SmbSessions(SmbConfig())
    assert [poller.poll() for _ in range(5)] == [None] * 5
    assert not (tmp_path / "asked").exists()


def test_nothing_is_said_where_there_is_no_samba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "find_program", lambda _name: None)
    poller = SmbSessions(BOTH)
    assert [poller.poll() for _ in range(5)] == [None] * 5


def test_what_was_said_is_taken_back_once_samba_has_gone(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(LIKE_SAMBA)
    monkeypatch.setattr(sessions, "INTERVAL_SECONDS", 0.0)
    poller = SmbSessions(BOTH)
    wait(poller)
    monkeypatch.setattr(sessions, "find_program", lambda _name: None)
    assert [poller.poll() for _ in range(3)] == [(), None, None]
    install("exit 1")
    assert wait(poller) == (DOWN,)
    monkeypatch.setattr(sessions, "find_program", lambda _name: None)
    assert [poller.poll() for _ in range(3)] == [(), None, None]


def test_once_a_minute(install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(LIKE_SAMBA)
    poller = SmbSessions(SmbConfig(sessions=True))
    wait(poller)
    for _ in range(5):
        assert poller.poll() is None
    now = time.monotonic()
    monkeypatch.setattr(sessions, "monotonic_seconds", lambda: now + sessions.INTERVAL_SECONDS)
    wait(poller)
    assert (tmp_path / "asked").read_text().count("\n") == 2


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("echo 'Unknown option --json' >&2; exit 1", "exit status 1: Unknown option --json"),
        ("echo 'Samba version 4.13'", "no JSON"),
        ("printf '\\033[31mevil\\n\\n' >&2; exit 3", "exit status 3: [31mevil"),
        ("kill -9 $$", "it was killed"),
    ],
)
def test_failure_is_said_once_and_its_end(
    install: Install,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    script: str,
    problem: str,
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(sessions, "INTERVAL_SECONDS", 0.0)
    install(script)
    poller = SmbSessions(BOTH)
    assert [wait(poller) for _ in range(3)] == [(DOWN,)] * 3
    assert len(caplog.records) == 1
    assert problem in caplog.text
    install(LIKE_SAMBA)
    assert wait(poller)[0] == UP
    assert caplog.messages[-1] == "smbstatus works again"


def test_failure_of_the_second_run_begins_with_the_first_again(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "INTERVAL_SECONDS", 0.0)
    install(f'case "$*" in *--shares*) exit 1;; esac\n{LIKE_SAMBA}')
    poller = SmbSessions(BOTH)
    assert wait(poller) == (DOWN,)
    install(LIKE_SAMBA)
    assert len(wait(poller)) == 8


def test_one_that_hangs_is_ended(
    install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(command, "TIMEOUT_SECONDS", 1)
    install("trap '' TERM INT; sleep 600 & wait")
    assert wait(SmbSessions(BOTH)) == (DOWN,)
    expect_gone(tmp_path / "smbstatus")


def test_one_that_cannot_be_ended_is_said_and_not_joined_by_another(
    install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install("sleep 600")
    poller = SmbSessions(BOTH)
    assert poller.poll() is None
    while not (tmp_path / "asked").exists():
        time.sleep(0.01)
    now = time.monotonic()
    monkeypatch.setattr(sessions, "monotonic_seconds", lambda: now + 1000.0)
    assert poller.poll() == (DOWN,)
    assert poller.poll() is None
    assert (tmp_path / "asked").read_text().count("\n") == 1
    poller.close()
    expect_gone(tmp_path / "smbstatus")


@pytest.mark.parametrize("where", ["", ">&2"])
def test_one_that_prints_without_end_is_ended(
    install: Install, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setattr(command, "MAX_BYTES", 100_000)
    monkeypatch.setattr(command, "TIMEOUT_SECONDS", 600)
    install(f"exec yes {where}")
    assert wait(SmbSessions(BOTH)) == (DOWN,)


def test_program_that_is_no_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sessions, "find_program", lambda _name: tmp_path)
    assert wait(SmbSessions(BOTH)) == (DOWN,)
    assert "exit status 126" in caplog.text


def test_end_of_nfszbx_leaves_nothing(install: Install, tmp_path: Path) -> None:
    install("sleep 600")
    poller = SmbSessions(BOTH)
    poller.poll()
    time.sleep(0.2)
    poller.close()
    poller.close()
    expect_gone(tmp_path / "smbstatus")


def test_rows_have_a_bound_and_lose_nothing(
    install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The largest are shown; the rest is one row."""
    monkeypatch.setattr(sessions, "MAX_ROWS", 2)
    entries = [
        {"hostname": f"ipv4:192.0.2.{n}:1", "username": "u"} for n in (1, 2, 3, 3, 4) for _ in "ab"
    ]
    (tmp_path / "list").write_text(json.dumps({"sessions": dict(enumerate(entries))}))
    install(f"cat {tmp_path}/list")
    assert wait(SmbSessions(SmbConfig(sessions=True)))[1:] == (
        Sample(catalog_smb.SESSIONS, ("192.0.2.3", "u"), 4),
        Sample(catalog_smb.SESSIONS, ("192.0.2.1", "u"), 2),
        Sample(catalog_smb.SESSIONS, ("other", "other"), 4),
    )


def test_programs_are_those_of_the_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It runs as root: a folder that PATH happens to name is not asked."""
    (tmp_path / "sh").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = command.find_program("sh")
    assert found
    assert found.parent != tmp_path
    assert command.find_program("no-such-program") is None

"""The process with the sinks is kept running, and believed nothing that it may not say."""

import json
import os
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from nfszbx import catalog
from nfszbx.config import Config
from nfszbx.errors import SinkStartError
from nfszbx.privileges import find_account
from nfszbx.samples import Sample, Samples
from nfszbx.sinks import connection, supervised
from nfszbx.sinks.states import SinkState
from nfszbx.sinks.supervised import SupervisedSinks
from nfszbx.state import StateDirectory
from tests.network import free_port

WAIT_SECONDS = 60.0

# In place of the real process: ready, and then what the test says.
FAKE = """\
import socket, struct, sys, time
line = socket.socket(fileno=int(sys.argv[1]))
def send(kind, body=b""):
    line.sendall(struct.pack("<cI", kind, len(body)) + body)
line.recv(100000)
send(b"R")
{then}
"""


def serve_at(port: int) -> Config:
    return Config.model_validate({"sinks": ["prometheus"], "prometheus": {"port": port}})


def make_samples(value: int) -> Samples:
    return Samples(float(value), complete=True, samples=(Sample(catalog.GAPS, (), value),))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_shown(port: int, value: int) -> bool:
    with (
        suppress(OSError),
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page,
    ):
        return f"nfszbx_gaps_total {value}.0" in page.read().decode()
    return False


@pytest.fixture
def state() -> Iterator[StateDirectory]:
    with TemporaryDirectory() as folder:
        yield StateDirectory(Path(folder))


@contextmanager
def supervise(config: Config, state: StateDirectory) -> Iterator[SupervisedSinks]:
    sinks = SupervisedSinks(config, state, find_account())
    try:
        sinks.wait_until_open()
        yield sinks
    finally:
        sinks.stop()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervised, "FIRST_BACK_OFF_SECONDS", 0.05)


def test_settings_that_cannot_be_had_leave_the_old_ones(state: StateDirectory) -> None:
    port = free_port()
    with ExitStack() as stack:
        taken = stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
        with pytest.raises(SinkStartError, match=f"port {taken}: Address already in use") as found:
            stack.enter_context(supervise(serve_at(taken), state))
        assert "--prometheus-port" in found.value.hint
        sinks = stack.enter_context(supervise(serve_at(port), state))
        sinks.put(make_samples(1))
        wait_for(lambda: is_shown(port, 1))
        sinks.begin_change(serve_at(taken))
        with pytest.raises(SinkStartError, match=str(taken)):
            wait_for(sinks.has_changed)
        wait_for(lambda: is_shown(port, 1))  # again, without a new interval
        other = free_port()
        sinks.begin_change(serve_at(other))
        wait_for(sinks.has_changed)
        sinks.put(make_samples(2))
        wait_for(lambda: is_shown(other, 2))
        (health,) = sinks.health().each
        assert (health.name, health.state) == ("prometheus", SinkState.DELIVERING)
        assert sinks.health().restarts == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", other))


@pytest.mark.parametrize(
    ("then", "said"),
    [
        ("send(b'Q', b'what is that')", "a message of the unknown kind"),
        ("send(b'H', b'{}' * 1000)", "a report that is none"),
        ("send(b'H', b'x' * 1000001)", "a message of 1000001 bytes"),
        ("send(b'S')", "a message of the kind STOP"),
        ("sys.exit(3)", "it has ended (status 3)"),
        ("import os; os.kill(os.getpid(), 9)", "it has ended (killed by SIGKILL)"),
        ("time.sleep(1000)", "no sign of life for 1 s"),
    ],
)
def test_process_that_does_not_behave_is_replaced(
    then: str,
    said: str,
    state: StateDirectory,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And the intervals that it was given go to the one that follows."""
    port, real = free_port(), connection.CODE
    monkeypatch.setattr(connection, "CODE", FAKE.format(then=f"{then}; time.sleep(1000)"))
    with supervise(serve_at(port), state) as sinks:
        sinks.put(make_samples(7))
        monkeypatch.setattr(connection, "CODE", real)
        if "no sign" in said:
            monkeypatch.setattr(supervised, "SILENT_SECONDS", 1)
        wait_for(lambda: sinks.health().restarts > 0)
        monkeypatch.setattr(supervised, "SILENT_SECONDS", 20)
        wait_for(lambda: is_shown(port, 7))
    assert said in caplog.text
    assert not sinks.are_gone


def test_process_that_is_never_ready_is_an_error(
    state: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CODE", "raise SystemExit(5)")
    with (
        pytest.raises(SinkStartError, match="was not ready: status 5"),
        supervise(serve_at(free_port()), state),
    ):
        pass


def test_words_of_an_error_come_through(
    state: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of a kind that it may not have: its exit code is not another one then."""
    refusal = b'{"exit_code": 77, "message": "words", "hint": "more"}'
    code = FAKE.replace('send(b"R")', "").format(then=f"send(b'E', {refusal!r})")
    monkeypatch.setattr(connection, "CODE", code)
    with (
        pytest.raises(SinkStartError, match="words") as found,
        supervise(serve_at(free_port()), state),
    ):
        pass
    assert (found.value.exit_code, found.value.hint) == (6, "more")


def test_putting_never_waits(state: StateDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody reads at the other end, and the socket is full."""
    monkeypatch.setattr(connection, "CODE", FAKE.format(then="time.sleep(1000)"))
    large = Samples(0.0, complete=True, samples=(Sample(catalog.GAPS, (), 1.0),) * 50_000, number=1)
    monkeypatch.setattr(supervised, "SINK_STOP_SECONDS", 0.1)
    monkeypatch.setattr(supervised, "MARGIN_SECONDS", 0.1)
    with supervise(serve_at(free_port()), state) as sinks:
        begin = time.monotonic()
        for _ in range(10):
            sinks.put(large)
        assert time.monotonic() - begin < 10


def test_what_waits_at_the_end_gets_a_last_chance(
    state: StateDirectory, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The process has died, and the next start is far away."""
    monkeypatch.setattr(supervised, "FIRST_BACK_OFF_SECONDS", 1000)
    real = connection.CODE
    monkeypatch.setattr(connection, "CODE", FAKE.format(then="sys.exit(1)"))
    with supervise(Config(sinks=("console",)), state) as sinks:
        wait_for(lambda: sinks.health().restarts > 0)
        monkeypatch.setattr(connection, "CODE", real)
        sinks.put(make_samples(5))
        assert capfd.readouterr().out == ""
    (line,) = capfd.readouterr().out.splitlines()
    assert json.loads(line)["time"] == 5


LATE = """\
import os, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if os.getuid() != 0:
            print("late:", name, file=sys.stderr, flush=True)
sys.meta_path.insert(0, Finder())
"""


@pytest.mark.parametrize("sinks", [["console", "prometheus"], ["zabbix"]], ids=str)
def test_nothing_is_imported_as_another_user(
    sinks: list[str],
    state: StateDirectory,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """It may not be able to read the place where the program lies: below /root, for one."""
    if os.getuid() != 0:
        pytest.skip("only root becomes another user")
    port = free_port()
    config = Config.model_validate(
        {
            "sinks": sinks,
            "prometheus": {"port": port},
            "zabbix": {"servers": ["localhost:1", "127.0.0.1:1"]},
        }
    )
    monkeypatch.setattr(connection, "CODE", LATE + connection.CODE)
    with supervise(config, state) as opened:
        opened.put(make_samples(1))
        if "zabbix" in sinks:
            wait_for(lambda: [h.state for h in opened.health().each] == [3, 3])
        else:
            wait_for(lambda: is_shown(port, 1))
    captured = capfd.readouterr()
    assert ("Connection refused" in captured.err) == ("zabbix" in sinks)
    assert ('"gaps_total": 1' in captured.out) == ("console" in sinks)
    assert [line for line in captured.err.splitlines() if line.startswith("late:")] == []

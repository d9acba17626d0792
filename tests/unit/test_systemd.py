"""What systemd is told, read from a socket as systemd does."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from nfszbx.systemd import ServiceManager

PID = 4711


class Listener:
    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(0)
        self.socket.bind(address)

    def read(self) -> list[str]:
        """What has come since the last call."""
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return messages


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    listener = Listener(str(tmp_path / "notify"))
    yield listener
    listener.socket.close()


def make_manager(listener: Listener, **environment: str) -> ServiceManager:
    return ServiceManager({"NOTIFY_SOCKET": listener.socket.getsockname(), **environment}, PID)


def test_ready_and_status_are_told_once(listener: Listener) -> None:
    manager = make_manager(listener)
    assert manager.is_there
    manager.turn(1.0, "starting", is_ready=False)
    assert listener.read() == ["STATUS=starting"]
    manager.turn(2.0, "measuring", is_ready=True)
    assert listener.read() == ["READY=1", "STATUS=measuring"]
    manager.turn(3.0, "measuring", is_ready=True)
    assert listener.read() == []
    manager.begin_stop()
    assert listener.read() == ["STOPPING=1"]


def test_status_is_one_line(listener: Listener) -> None:
    """A second line would be a message of its own."""
    make_manager(listener).turn(1.0, "wrong:\n  WATCHDOG=1\n" + 1000 * "x", is_ready=False)
    (message,) = listener.read()
    assert message.startswith("STATUS=wrong: WATCHDOG=1 xxx")
    assert len(message) < 400


def test_reload_ends_with_the_next_turn(listener: Listener) -> None:
    manager = make_manager(listener)
    manager.begin_reload(1.5)
    assert listener.read() == []  # not yet ready: nothing to come back to
    manager.turn(2.0, "", is_ready=True)
    manager.begin_reload(2.5)
    manager.turn(3.0, "", is_ready=True)
    assert listener.read() == ["READY=1", "RELOADING=1\nMONOTONIC_USEC=2500000", "READY=1"]


def test_watchdog_is_fed_in_time(listener: Listener) -> None:
    manager = make_manager(listener, WATCHDOG_USEC="30000000", WATCHDOG_PID=str(PID))
    for now, fed in ((100.0, True), (109.0, False), (110.0, True), (119.9, False), (500.0, True)):
        manager.turn(now, "", is_ready=False)
        assert listener.read() == (["WATCHDOG=1"] if fed else []), now


@pytest.mark.parametrize(
    "environment",
    [{}, {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}],
    ids=["none", "of another process", "no number"],
)
def test_no_watchdog(listener: Listener, environment: dict[str, str]) -> None:
    manager = make_manager(listener, **environment)
    manager.turn(100.0, "", is_ready=False)
    assert listener.read() == []


def test_abstract_address() -> None:
    name = f"nfszbx-test-{os.getpid()}"
    listener = Listener(f"\0{name}")
    ServiceManager({"NOTIFY_SOCKET": f"@{name}"}, PID).turn(1.0, "", is_ready=True)
    assert listener.read() == ["READY=1"]
    listener.socket.close()


def test_message_that_was_lost_is_sent_again(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    manager = ServiceManager({"NOTIFY_SOCKET": path}, PID)
    manager.turn(1.0, "measuring", is_ready=True)  # nobody listens yet
    listener = Listener(path)
    manager.turn(2.0, "measuring", is_ready=True)
    assert listener.read() == ["READY=1", "STATUS=measuring"]
    listener.socket.close()


def test_systemd_that_does_not_read_holds_up_nothing(listener: Listener) -> None:
    """With a timeout a turn would take so long, again and again; hanging, this test would fail."""
    manager = make_manager(listener)
    for number in range(1000):  # more than a queue holds
        manager.turn(float(number), str(number), is_ready=True)
    held = listener.read()
    assert held[:2] == ["READY=1", "STATUS=0"]
    manager.turn(2000.0, "999", is_ready=True)
    assert listener.read() == ["STATUS=999"]


def test_without_systemd_nothing_happens() -> None:
    manager = ServiceManager({}, PID)
    assert not manager.is_there
    manager.turn(1.0, "measuring", is_ready=True)
    manager.begin_reload(2.0)
    manager.begin_stop()

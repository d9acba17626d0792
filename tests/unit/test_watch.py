"""What changes on the machine while nfszbx runs."""

from pathlib import Path

import pytest

from nfszbx import watch
from nfszbx.config import Config
from nfszbx.kernel.facts import PRESENT, absent, facts_from_json
from nfszbx.plan import Plan
from nfszbx.traffic import Transport

FACTS = Path(__file__).parents[1] / "fixtures/facts/debian13-6.12.json"


class Machine:
    """A machine whose nfsd listens where the test says, and whose clock it moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        facts = facts_from_json(FACTS.read_text(), FACTS.name)
        self.listeners: tuple[str, ...] = ()
        self.seconds = 0.0
        self.kprobes = PRESENT
        monkeypatch.setattr(watch, "monotonic_seconds", lambda: self.seconds)
        monkeypatch.setattr(watch, "read_other_nfsd_transports", lambda _: self.listeners)
        monkeypatch.setattr(watch, "read_kprobes", lambda _: self.kprobes)
        monkeypatch.setattr(watch, "read_rpc_types", lambda _: PRESENT)
        monkeypatch.setattr(watch, "read_symbols", lambda _, names: dict.fromkeys(names, PRESENT))
        self.watch = watch.TransportWatch(Config(), facts)

    def poll_later(self) -> Plan | None:
        self.seconds += watch.WATCH_SECONDS
        return self.watch.poll()


def test_new_listener_makes_a_new_plan_once(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    assert machine.poll_later() is None
    machine.listeners = ("udp 2049",)
    assert machine.watch.poll() is None  # not yet time to look
    plan = machine.poll_later()
    assert plan
    assert plan.rpc_transports == (Transport.UDP,)
    assert machine.poll_later() is None


def test_nfsd_that_comes_again_is_planned_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its module may have been loaded anew, without the probes."""
    machine = Machine(monkeypatch)
    for listeners, is_new in ((("udp 2049",), True), ((), False), (("udp 2049",), True)):
        machine.listeners = listeners
        assert bool(machine.poll_later()) is is_new


def test_omissions_are_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    machine = Machine(monkeypatch)
    machine.kprobes = absent("no kprobes")
    machine.listeners = ("rdma 20049",)
    plan = machine.poll_later()
    assert plan
    watch.log_omissions(plan)
    assert "not measured: NFS over rdma 20049: no kprobes (mount with proto=tcp)" in caplog.text

"""What changes on the machine while nfszbx runs."""

import dataclasses
from pathlib import Path

import pytest

from nfszbx import watch
from nfszbx.config import Config
from nfszbx.kernel.facts import KernelFacts, absent, facts_from_json
from nfszbx.plan import Plan
from nfszbx.traffic import Transport

FACTS = Path(__file__).parents[1] / "fixtures/facts/debian13-6.12.json"


class Machine:
    """A machine whose nfsd listens where the test says, and whose clock it moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.facts = facts_from_json(FACTS.read_text(), FACTS.name)
        self.listeners: tuple[str, ...] = ()
        self.seconds = 0.0
        self.facts_read = 0
        monkeypatch.setattr(watch, "monotonic_seconds", lambda: self.seconds)
        monkeypatch.setattr(watch, "read_other_nfsd_transports", lambda _: self.listeners)
        monkeypatch.setattr(watch, "read_facts", self.read_facts)
        self.watch = watch.TransportWatch(Config(), self.facts)

    def read_facts(self, _: str | None) -> KernelFacts:
        self.facts_read += 1
        return dataclasses.replace(self.facts, other_nfsd_transports=self.listeners)

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
    machine.listeners = ()
    assert machine.poll_later() is None
    machine.listeners = ("udp 2049",)  # nfsd was started again: the probes are still there
    assert machine.poll_later() is None
    assert machine.facts_read == 1


def test_plan_that_cannot_run_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    machine.facts = dataclasses.replace(machine.facts, btf=absent("gone"))
    machine.listeners = ("rdma 20049",)
    assert machine.poll_later() is None
    assert machine.facts_read == 1


def test_omissions_are_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    machine = Machine(monkeypatch)
    machine.facts = dataclasses.replace(machine.facts, kprobes=absent("no kprobes"))
    machine.listeners = ("rdma 20049",)
    plan = machine.poll_later()
    assert plan
    watch.log_omissions(plan)
    assert "not measured: NFS over rdma 20049: no kprobes (mount with proto=tcp)" in caplog.text

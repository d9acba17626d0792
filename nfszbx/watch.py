"""Notices what changes on the machine while nfszbx runs, and plans anew."""

import logging
from dataclasses import replace
from pathlib import Path

from nfszbx.clock import monotonic_seconds
from nfszbx.config import Config
from nfszbx.kernel.facts import RPC_FUNCTIONS, KernelFacts
from nfszbx.kernel.tracing import (
    read_kprobes,
    read_other_nfsd_transports,
    read_rpc_types,
    read_symbols,
)
from nfszbx.plan import Plan, make_plan

WATCH_SECONDS = 10.0
ROOT = Path("/")

_log = logging.getLogger(__name__)


class TransportWatch:
    """Looks whether nfsd has begun to listen beside TCP: after nfszbx, and its modules with it."""

    def __init__(self, config: Config, facts: KernelFacts) -> None:
        self.config = config
        """What the next plan is made with."""
        self._facts = facts
        self._known = frozenset(facts.other_nfsd_transports)
        self._next_at = monotonic_seconds() + WATCH_SECONDS

    def poll(self) -> Plan | None:
        """A new plan when there is something new to count, or to say that it is not counted.

        Only what the new listener needs is asked again: the rest works as it is.
        """
        now = monotonic_seconds()
        if now < self._next_at:
            return None
        self._next_at = now + WATCH_SECONDS
        listeners = read_other_nfsd_transports(ROOT)
        if not listeners:  # the module may go now, and its probes with it
            self._known = frozenset()
        if self._known.issuperset(listeners):
            return None
        new = ", ".join(sorted(set(listeners) - self._known))
        self._known |= set(listeners)
        _log.info("nfsd has begun to listen on %s; planning anew", new)
        self._facts = replace(
            self._facts,
            other_nfsd_transports=listeners,
            symbols={**self._facts.symbols, **read_symbols(ROOT, RPC_FUNCTIONS)},
            rpc_types=read_rpc_types(ROOT),
            kprobes=read_kprobes(ROOT),
        )
        return make_plan(self._facts, self.config)

    def plan_for(self, config: Config) -> Plan:
        """The plan with other settings, for the machine as it is known."""
        return make_plan(self._facts, config)


def log_omissions(plan: Plan) -> None:
    """Say what is not measured."""
    for omission in plan.omissions:
        _log.warning("not measured: %s: %s (%s)", omission.what, omission.reason, omission.remedy)

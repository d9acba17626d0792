"""A second bpftrace beside the one that counts, until it counts as well and can take over."""

from collections.abc import Iterator

from nfszbx.child.process import ChildProcess
from nfszbx.child.supervisor import Ended, Line, Notice, Supervisor
from nfszbx.pipeline import Pipeline
from nfszbx.plan import Plan
from nfszbx.script import Script

FULL_CYCLE_DUMPS = 2
"""The first dump may come while probes are still being attached."""
START_TIMEOUT_SECONDS = 900.0
"""On a machine that is overloaded; nothing is missed while the other one counts."""


class Successor:
    """One attempt; what it was made with is in force once it has taken over."""

    def __init__(self, program: str, script: Script, plan: Plan, pipeline: Pipeline) -> None:
        self.script = script
        self.plan = plan
        self.supervisor = Supervisor(
            lambda: ChildProcess(program, script),
            plan.interval_seconds,
            plan.map_max_entries,
            START_TIMEOUT_SECONDS,
        )
        self._pipeline = pipeline
        self._dumps = 0
        pipeline.begin_handover()

    @property
    def is_ready(self) -> bool:
        """Has it delivered a first full cycle?"""
        return self._dumps >= FULL_CYCLE_DUMPS

    def poll(self) -> Iterator[Notice | Ended]:
        """What is to be told of it; never waits. After an end it is of no more use."""
        for event in self.supervisor.poll(wait_seconds=0.0):
            if isinstance(event, Line):
                self._take(event)
            elif isinstance(event, Notice | Ended):
                yield event

    def _take(self, line: Line) -> None:
        if self._pipeline.take_line_of_successor(line.text):
            self.supervisor.note_dump()
            self._dumps += 1

    def kill(self) -> None:
        """Leave nothing of it behind."""
        self.supervisor.kill()
        self._pipeline.end_handover()

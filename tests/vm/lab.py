"""One row of the matrix at work: its machine, the servers and counters in it, and the results."""

from contextlib import ExitStack
from dataclasses import dataclass, field

from tests.vm.image import get_image
from tests.vm.machine import Machine, MachineLostError
from tests.vm.matrix import Row
from tests.vm.results import Comparison, Measurement, read_measurements

MAX_LOST = 3
"""Machines that a row may lose; after that it is given up."""
COMMAND_TIMEOUT_SECONDS = 400.0
_GUEST = "python3 -m tests.vm.guest"


class ScenarioError(Exception):
    """A scenario could not be carried through, though the machine is well."""


@dataclass
class Lab:
    """Boots when something is to be run, and again after a machine was lost."""

    row: Row
    with_other_tools: bool = False
    """Let other tools count beside nfszbx, for ``docs/accuracy.md``."""
    comparison: Comparison = field(default_factory=Comparison)
    lost: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What else was compared, for those who read the summary."""
    versions: list[str] = field(default_factory=list)
    """Of the kernel, bpftrace and Samba."""
    _machine: Machine | None = None

    @property
    def exact_ways(self) -> list[str]:
        """The ways that must not differ by a byte."""
        return [way for way in self.row.ways if way not in self.row.inexact_ways]

    def measure(self, scenario: str) -> list[Measurement]:
        """Run a scenario beside every way of counting that the row has."""
        found = read_measurements(self.run(f"{_GUEST} {scenario}"))
        if not found:
            raise ScenarioError(f"{scenario} has measured nothing")
        return found

    def run(self, command: str) -> str:
        """What a command prints there, while it counts. Raises MachineLostError, ScenarioError."""
        if self._machine is None:
            self._machine = self._start()
        try:
            return _run(self._machine, command)
        except MachineLostError as error:
            self.lost.append(str(error))
            self.close()
            raise

    def close(self) -> None:
        """End the machine, if there is one."""
        if self._machine is not None:
            self._machine.close()
            self._machine = None

    def _start(self) -> Machine:
        while len(self.lost) < MAX_LOST:
            try:
                return self._boot()
            except MachineLostError as error:
                self.lost.append(str(error))
        raise MachineLostError(f"given up after {MAX_LOST} machines; the last: {self.lost[-1]}")

    def _boot(self) -> Machine:
        has_ksmbd = "ksmbd_smbclient" not in self.row.lacks
        services = ["nfsd", "smbd", *(["ksmbd"] if has_ksmbd else [])]
        with ExitStack() as stack:
            machine = stack.enter_context(Machine(get_image(self.row)))
            # A preemptible kernel misses messages while bpftrace reads maps (docs/counting.md), and
            # that of operations would do so every two seconds: there it waits for its own test.
            count = "count-bytes" if self.row.inexact_ways else "count"
            # The counters first: then every server, and every module, comes after nfszbx.
            compare = [["compare"]] if self.with_other_tools else []
            for arguments in (
                ["prepare"],
                [count, *(self.row.ways if self.with_other_tools else self.exact_ways)],
                *compare,
                ["serve", *services],
            ):
                _run(machine, f"{_GUEST} {' '.join(arguments)}")
            said = _run(machine, "uname -r; bpftrace --version; smbd --version")
            self.versions = [line.replace("Version ", "Samba ") for line in said.splitlines()]
            stack.pop_all()
        return machine


def _run(machine: Machine, command: str) -> str:
    outcome = machine.run(command, COMMAND_TIMEOUT_SECONDS)
    if outcome.status != 0:
        raise ScenarioError(f"'{command}' ended with {outcome.status}:\n{outcome.output}")
    return outcome.output

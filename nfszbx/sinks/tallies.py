"""What is known of the sinks, over the ends of the processes that had them."""

from dataclasses import replace

from nfszbx.health import SinkHealth
from nfszbx.sinks.messages import MessageError
from nfszbx.sinks.reports import Report, Tally
from nfszbx.sinks.states import SinkState


class Tallies:
    """The last report, and the sums of those before."""

    def __init__(self) -> None:
        self._before: dict[str, Tally] = {}
        """By sink: of the processes that have ended."""
        self.report = Report()
        """The last one."""
        self.is_up = False
        """There is a process that is ready."""
        self._names: frozenset[str] | None = None

    def begin(self) -> None:
        """A process is ready: its first report says which sinks there are."""
        self.is_up, self._names = True, None

    def take(self, report: Report) -> None:
        """The process has told. Raises :class:`MessageError` when its sinks have other names."""
        names = frozenset(tally.name for tally in report.sinks)
        if self._names not in {None, names}:
            raise MessageError("the sinks have changed their names")
        self._names = names
        self.report = report

    def end(self) -> None:
        """The process has ended; what it has counted is kept."""
        self.is_up = False
        sums = {tally.name: self._add_up(tally) for tally in self.report.sinks}
        self._before = sums
        nothing = {"delivered": 0, "dropped": 0, "errors": 0}
        rest = tuple(tally.model_copy(update=nothing) for tally in self.report.sinks)
        self.report = self.report.model_copy(update={"sinks": rest})

    def list_healths(self, unsent: int, dropped: int) -> tuple[SinkHealth, ...]:
        """The tallies of all sinks.

        ``unsent`` intervals wait for all of them, and ``dropped`` were given to none.
        """
        found = []
        for tally in self.report.sinks:
            health = self._add_up(tally).as_health()
            is_away = not self.is_up and health.state != SinkState.GONE
            found.append(
                replace(
                    health,
                    queue_length=health.queue_length + unsent,
                    dropped=health.dropped + dropped,
                    state=SinkState.BACKING_OFF if is_away else health.state,
                )
            )
        return tuple(found)

    def _add_up(self, tally: Tally) -> Tally:
        before = self._before.get(tally.name)
        if before is None:
            return tally
        fields = ("delivered", "dropped", "errors")
        sums = {field: getattr(tally, field) + getattr(before, field) for field in fields}
        return tally.model_copy(update=sums)

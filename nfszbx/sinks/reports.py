"""What the process with the sinks tells: taken for what an enemy may have written.

Checked here, on the side of root, which alone imports this.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nfszbx.health import SinkHealth
from nfszbx.sinks.messages import MessageError

MAX_REPORT_BYTES = 1_000_000

_Count = Annotated[int, Field(strict=True, ge=0, le=2**53)]
_Words = Annotated[str, Field(strict=True, max_length=10_000)]
_Flag = Annotated[bool, Field(strict=True)]
_SinkName = Annotated[str, Field(strict=True, max_length=10_000, pattern=r"^[ -~]+$")]


class _Upwards(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Refusal(_Upwards):
    """Why the sinks cannot be opened: an error of ours, in parts."""

    exit_code: _Count
    message: _Words
    hint: _Words = ""


class Tally(_Upwards):
    """Of one sink: the fields of :class:`SinkHealth`."""

    name: _SinkName
    queue_length: _Count
    delivered: _Count
    dropped: _Count
    errors: _Count
    state: Annotated[int, Field(strict=True, ge=0, le=4)]

    def as_health(self) -> SinkHealth:
        """The same."""
        return SinkHealth(**self.model_dump())


class Report(_Upwards):
    """How the sinks do; at every change, and once a second as a sign of life."""

    sinks: Annotated[tuple[Tally, ...], Field(max_length=1000)] = ()
    handed_on: dict[_SinkName, _Count] = {}
    """By sink: the last interval that it has taken, given up, or put on disk."""
    done: _Count = 0
    """The last interval that no sink would miss if all began anew now."""
    on_disk: _Flag = True
    gone: _Flag = False


def parse_report(body: bytes) -> Report:
    """Raises :class:`MessageError`."""
    try:
        return Report.model_validate_json(body)
    except ValidationError as error:
        raise MessageError(f"a report that is none: {error.errors()[0]['msg']:.200}") from None


def parse_refusal(body: bytes) -> Refusal:
    """Raises :class:`MessageError`."""
    try:
        return Refusal.model_validate_json(body)
    except ValidationError as error:
        raise MessageError(f"an error that is none: {error.errors()[0]['msg']:.200}") from None

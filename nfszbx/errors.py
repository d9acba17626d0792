"""Every error that nfszbx raises, each with an exit code and a hint.

::

    NfszbxError                 1
    |- ConfigurationError       2   a setting, a flag or a file that the user named is wrong
    |- PrivilegeError           3   not root, or root without the capabilities
    |- BpftraceError            4   bpftrace is missing, too old, or does not start
    |- KernelError              5   tracefs, BTF or every way of counting is missing
    |- SinkStartError           6   a sink cannot start: port or spool in use, foreign address
    |- ZabbixError              7   Zabbix was asked and refused, or something is wrong with it
    |- SinkDeliveryError        -   one delivery failed (never ends the program)
    |  |- SinkUnavailableError      the service did not answer: the same values are tried again
    |  |- SinkRefusedError          the service answered and refused: trying again would not help
    |  `- SinkGoneError             nobody will ever read there again
    `- DumpError                -   a dump cannot be used (never ends the program)
       `- LineError                 a line of it cannot, which its end mark will tell

Raise; only ``cli.py`` exits.
"""

from typing import ClassVar


class NfszbxError(Exception):
    """Base of the tree: a message for the user, and a hint that says what would mend it."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ConfigurationError(NfszbxError):
    """One or more settings are wrong; the message has a line for each, with its key."""

    exit_code = 2


class PrivilegeError(NfszbxError):
    """The process may not load BPF programs."""

    exit_code = 3


class BpftraceError(NfszbxError):
    """bpftrace is missing, too old, or cannot be started."""

    exit_code = 4


class KernelError(NfszbxError):
    """This kernel, as it is set up now, offers no way to count."""

    exit_code = 5


class SinkStartError(NfszbxError):
    """A sink cannot start."""

    exit_code = 6


class ZabbixError(NfszbxError):
    """Zabbix cannot be asked, refused, or is not set up for what it is to show."""

    exit_code = 7


class SinkDeliveryError(NfszbxError):
    """One delivery to a sink failed."""


class SinkUnavailableError(SinkDeliveryError):
    """The service behind the sink did not answer; the same samples can be delivered later."""


class SinkRefusedError(SinkDeliveryError):
    """The service answered and refused; delivering the same samples again would not help."""


class SinkGoneError(SinkDeliveryError):
    """The reader of the sink has gone for good; the sink is given up."""


class DumpError(NfszbxError):
    """A dump, or a line of it, cannot be used; the counters stay as they were.

    The message carries the offending text, cut to a readable length.
    """


class LineError(DumpError):
    """A line cannot be used; the dump that it stands in is refused at its end mark."""

"""The standard streams of a program that may be started without them, or lose them."""

import os
import sys
from contextlib import suppress
from typing import TextIO


def open_standard_streams() -> None:
    """Give a program that was started without one of them an empty one in its place.

    Otherwise the next file that is opened would take its number, and in the child its place.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115  a device, for good


def give_up_reading_terminals() -> None:
    """Standard output and error of a terminal can be read as well: from now on only written."""
    for descriptor in (1, 2):
        if os.isatty(descriptor):
            with suppress(OSError):  # a terminal of another mount namespace has no name here
                terminal = os.open(os.ttyname(descriptor), os.O_WRONLY | os.O_NOCTTY)
                os.dup2(terminal, descriptor)
                os.close(terminal)


def redirect_to_nowhere(stream: TextIO) -> None:
    """Let what cannot be written, and Python would try to write at its end, go nowhere."""
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123  a device
        os.dup2(nowhere.fileno(), stream.fileno())

"""Standard streams that are terminals."""

import os
import subprocess
import sys

CODE = """\
import os
from nfszbx.streams import give_up_reading_terminals
give_up_reading_terminals()
for descriptor in (1, 2):
    try:
        os.read(descriptor, 1)
    except OSError as error:
        os.write(descriptor, error.strerror.encode() + b". ")
"""


def test_terminals_are_written_and_not_read() -> None:
    """What root types there is no business of the process with the sinks."""
    ours, theirs = os.openpty()
    subprocess.run([sys.executable, "-c", CODE], stdout=theirs, stderr=theirs, check=True)
    assert os.read(ours, 1000) == b"Bad file descriptor. Bad file descriptor. "
    for descriptor in (ours, theirs):
        os.close(descriptor)

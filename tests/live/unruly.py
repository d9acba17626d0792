"""A program in bpftrace's place: the real one, but for what a file tells it to do badly.

nfszbx gives bpftrace a clean environment, so both paths stand in the text of the program.
"""

import shutil
import sys
from pathlib import Path

_PROGRAM = '''\
#!{python}
import ctypes, os, signal, subprocess, sys, time
from pathlib import Path
REAL, FAULT = {real!r}, Path({fault!r})


def read_fault():
    return FAULT.read_text() if FAULT.exists() else ""


def write(data):
    view = memoryview(data)
    while view:
        view = view[os.write(1, view):]


def misbehave(fault):
    """One child does it, and the next one no more; but each exits, until it is mended."""
    name, _, number = fault.partition(" ")
    if name == "exit":
        sys.exit(1)
    FAULT.unlink(missing_ok=True)
    while name == "endless":
        write(b"x" * 65536)
    while name == "babble":
        write(b"not a record of bpftrace\\n" * 1000)
    if name == "garbage":
        write(b"\\xff\\xfe not a record of bpftrace\\n" * int(number))


if "-f" not in sys.argv:
    os.execv(REAL, [REAL, *sys.argv[1:]])
misbehave(read_fault())
script = int(sys.argv[-1].rpartition("/")[2])
child = subprocess.Popen(
    [REAL, "-B", "line", *sys.argv[1:]],
    stdout=subprocess.PIPE,
    pass_fds=[script],
    preexec_fn=lambda: ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0),
)
signal.signal(signal.SIGTERM, lambda *_: child.terminate())
for line in child.stdout:
    write(line)
    if b"nfszbx end" in line:
        misbehave(read_fault())
sys.exit(child.wait())
'''


_SYNTHETIC = """\
#!{python}
import json, os, sys, time
if "-f" not in sys.argv:
    os.execv({real!r}, [{real!r}, *sys.argv[1:]])


def mark(name):
    text = "nfszbx %s %d" % (name, time.clock_gettime_ns(time.CLOCK_BOOTTIME))
    return json.dumps({{"type": "printf", "data": text + chr(10)}}) + chr(10)


def write(text):
    view = memoryview(text.encode())
    while view:
        view = view[os.write(1, view):]


def key(number):
    high, low = (int.from_bytes(part, "little", signed=True) for part in (
        bytes.fromhex("20010db8") + bytes([1, 2, 3, 4]), b"abcd" + number.to_bytes(4, "big")
    ))
    return '"3,%d,%d": %d' % (high, low, {client_bytes})


write(mark("begin"))
clients = ", ".join(map(key, range({clients})))
total = {clients} * {client_bytes}
maps = '{{"type": "map", "data": {{"@total_bytes": {{"3": %d}}}}}}' % total + chr(10)
maps += '{{"type": "map", "data": {{"@client_bytes": {{%s}}}}}}' % clients + chr(10)
open(__file__ + ".size", "w").write(str(len(maps)))
while True:
    write(maps + mark("end"))
    time.sleep({seconds})
"""


def write_synthetic(path: Path, clients: int, client_bytes: int, seconds: int) -> dict[str, str]:
    """A program whose every dump has so many clients, each with so many bytes received.

    What nfszbx needs in its environment to start it.
    """
    real = shutil.which("bpftrace")
    text = _SYNTHETIC.format(
        python=sys.executable,
        real=real,
        clients=clients,
        client_bytes=client_bytes,
        seconds=seconds,
    )
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return {"NFSZBX_BPFTRACE": str(path)}


class Unruly:
    """The program, and what it is told."""

    def __init__(self, directory: Path) -> None:
        self._fault = directory / "fault"
        self._path = directory / "bpftrace"
        real = shutil.which("bpftrace")
        text = _PROGRAM.format(python=sys.executable, real=real, fault=str(self._fault))
        self._path.write_text(text, encoding="utf-8")
        self._path.chmod(0o755)
        self.environment = {"NFSZBX_BPFTRACE": str(self._path)}
        """For nfszbx."""

    def tell(self, fault: str) -> None:
        """``exit``, ``endless``, ``babble``, or ``garbage 1000``: at the next dump or start."""
        new = self._fault.with_suffix(".new")
        new.write_text(fault, encoding="utf-8")
        new.replace(self._fault)

    def mend(self) -> None:
        """From now on it is as the real one."""
        self._fault.unlink(missing_ok=True)

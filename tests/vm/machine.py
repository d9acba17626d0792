"""Boots an image in QEMU and runs commands in it over its console.

The kernel's messages go to a serial port and from there to a file; the shell is on a console of its
own, so that neither disturbs the other. The machine gets the checkout, or other files, as an
archive on its second disk. Whatever it writes to its disks is forgotten with it.
"""

import os
import re
import select
import socket
import subprocess
import sys
import termios
import time
import tty
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import pexpect
from pexpect import fdpexpect

from tests.vm.image import Image

BOOT_TIMEOUT_SECONDS = 240.0
"""A boot takes 10 to 20 seconds, several times as long when the processors are busy."""
_REPOSITORY = Path(__file__).parent.parent.parent
_KERNEL_ARGUMENTS = (
    # A kernel that is in doubt panics, and QEMU ends with it: that cannot be mistaken for a test.
    "console=ttyS0 loglevel=7 panic=-1 oops=panic root=LABEL=root rw "
    # The speed of the TSC is misjudged when the processors are busy at boot; then time flies.
    "tsc=unstable clocksource=hpet "
    "mitigations=off net.ifnames=0 no_timer_check random.trust_cpu=on"
)
_QUICK = ("-accel", "tcg,thread=multi", "-smp", "2")
_COUNTING = ("-accel", "tcg,thread=single", "-smp", "1", "-icount", "shift=0,sleep=off")
_READY = r"nfszbx machine is ready\r*\n"
_LAST_LINES = 25
_SO_SNDBUFFORCE = 32  # include/uapi/asm-generic/socket.h; Python has no name for it
_CONSOLE_BYTES = 8 << 20
"""QEMU forgets what a console cannot take at once, and a terminal takes some kilobytes only."""


class MachineLostError(Exception):
    """The machine did not boot, hung or panicked; what it ran has neither passed nor failed."""


@dataclass(frozen=True)
class Outcome:
    """What a command in the machine came to."""

    status: int
    output: str


class Machine:
    """A running machine; a context manager that leaves nothing behind."""

    def __init__(
        self, image: Image, files: Path | None = None, *, counts_instructions: bool = False
    ) -> None:
        """``files`` is the archive on its second disk, the checkout if there is none.

        With ``counts_instructions`` it has one processor, for which each instruction takes a
        nanosecond of its own time.
        """
        self._folder = TemporaryDirectory(prefix="nfszbx-vm-")
        folder = Path(self._folder.name)
        self._kernel_log = folder / "kernel.log"
        if files is None:
            files = folder / "checkout.tar"
            pack_checkout(files)
        self._console, theirs = socket.socketpair()
        theirs.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _CONSOLE_BYTES)
        self._process = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL", "nice", "-n", "5", "qemu-system-x86_64"),
                *(_COUNTING if counts_instructions else _QUICK),
                *("-cpu", "max", "-nodefaults", "-no-reboot", "-m", "3G", "-display", "none"),
                *("-kernel", str(image.kernel), "-initrd", str(image.initial_ramdisk)),
                *("-append", f"{_KERNEL_ARGUMENTS} init={image.init}"),
                *("-drive", f"file={image.disk},format=raw,if=virtio,snapshot=on"),
                *("-drive", f"file={files},format=raw,if=virtio,readonly=on"),
                *("-device", "virtio-rng-pci", "-serial", f"file:{self._kernel_log}"),
                *("-device", "virtio-serial-pci"),
                *("-chardev", f"socket,id=shell,fd={theirs.fileno()}"),
                *("-device", "virtconsole,chardev=shell"),
            ],
            env={**os.environ, "TMPDIR": str(folder)},
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        self._shell = fdpexpect.fdspawn(
            self._console, maxread=1 << 16, encoding="utf-8", codec_errors="replace", use_poll=True
        )

    def boot(self) -> None:
        """Wait for the shell. Raises MachineLostError."""
        self._expect(_READY, BOOT_TIMEOUT_SECONDS, "its boot")

    def run(self, command: str, timeout_seconds: float) -> Outcome:
        """Run a line of shell to its end. Raises MachineLostError when that does not come."""
        self._shell.sendline(f'{{ {command}\n}} </dev/null; echo "<<status $?>>"')
        self._expect(r"<<status (\d+)>>\r*\n", timeout_seconds, f"'{command:.60}'")
        assert isinstance(self._shell.match, re.Match)
        output = str(self._shell.before).replace("\r", "")
        return Outcome(int(self._shell.match[1]), output)

    def interact(self) -> None:
        """Give the shell to the user's terminal until it ends."""
        self._shell.sendline("stty echo; TERM=linux PS1='vm# ' exec bash --noprofile --norc")
        settings = termios.tcgetattr(sys.stdin)
        tty.setraw(sys.stdin)
        try:
            ways = {sys.stdin.fileno(): self._console.fileno(), self._console.fileno(): 1}
            while ready := select.select(list(ways), [], [])[0]:
                for source in ready:
                    if not (data := os.read(source, 1 << 16)):
                        return
                    os.write(ways[source], data)
        finally:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, settings)

    def close(self) -> None:
        """End it without asking."""
        self._process.kill()
        self._process.wait()
        self._console.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        try:
            self.boot()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _expect(self, pattern: str, timeout_seconds: float, doing: str) -> None:
        started = time.monotonic()
        found = self._shell.expect([pattern, pexpect.EOF, pexpect.TIMEOUT], timeout_seconds)
        if found == 0:
            return
        log = self._kernel_log.read_text(errors="replace") if self._kernel_log.exists() else ""
        after = f"after {time.monotonic() - started:.0f} s of {doing}"
        if re.search(r"Kernel panic|BUG:|Oops", log):
            what = f"its kernel panicked {after}"
        elif found == 1:
            what = f"QEMU ended {after}"
        else:
            what = f"no answer {after}"
        said = [*str(self._shell.before).splitlines(), "kernel:", *log.splitlines()]
        raise MachineLostError("\n".join([f"machine lost: {what}", *said[-_LAST_LINES:]]))


def pack_checkout(archive: Path, *more: Path) -> None:
    """The files under version control, and those that are not ignored, as they are now.

    ``more`` files come beside them.
    """
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=_REPOSITORY, stdout=subprocess.PIPE, check=True).stdout
    existing = [
        name for name in names.split(b"\0") if name and (_REPOSITORY / os.fsdecode(name)).exists()
    ]
    subprocess.run(
        ["tar", "--create", "--file", str(archive), "--null", "--files-from", "-"],
        cwd=_REPOSITORY,
        input=b"\0".join(existing),
        check=True,
    )
    for path in more:
        append = ["tar", "--append", "--file", str(archive), "-C", str(path.parent), path.name]
        subprocess.run(append, check=True)

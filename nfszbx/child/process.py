"""One bpftrace process under pexpect: its lines, its words on standard error, its end.

Standard output is a pseudo terminal, so that bpftrace writes each line at once. The script is an
anonymous file in memory: nothing to find, to change or to clean up on disk. The kernel kills the
process when nfszbx ends in whatever way (PR_SET_PDEATHSIG); the hang-up of the terminal is the
second net. Start and use it in the program's main thread only: the parent-death signal follows the
thread, not the process.
"""

import ctypes
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import pexpect
import ptyprocess

from nfszbx.clock import monotonic_seconds
from nfszbx.errors import BpftraceError
from nfszbx.script import Script

_PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h
_LAST_WORDS = 20
_MAX_STDERR_BYTES = 1 << 16  # what a pipe holds
# The default, but fixed: the C library raises it while LLVM compiles, and keeps what that frees. A
# fifth of bpftrace's memory goes back to the kernel (docs/performance.md).
_MEMORY = {"MALLOC_TRIM_THRESHOLD_": "131072"}
_END_SECONDS = 1.0  # from the end of the output to that of the process
_LIBC = ctypes.CDLL(None, use_errno=True)


class _Spawn(pexpect.spawn):  # type: ignore[type-arg]  # generic only in the stubs
    """pexpect closes all descriptors but 0 to 2 and has no argument for more: ptyprocess has."""

    ptyproc: Any  # not in the stubs

    def __init__(self, pass_fds: Sequence[int], *args: Any, **kwargs: Any) -> None:
        self._pass_fds = pass_fds
        super().__init__(*args, **kwargs)

    def _spawnpty(self, args: list[str], **kwargs: Any) -> Any:
        return ptyprocess.PtyProcess.spawn(args, pass_fds=self._pass_fds, **kwargs)

    def isalive(self) -> bool:
        """Without waiting: once the terminal is closed, ptyprocess waits for the process's end."""
        self.ptyproc.flag_eof = False
        return super().isalive()


class ChildProcess:
    """A started bpftrace."""

    def __init__(self, program: str, script: Script) -> None:
        """Start ``program``. Raises :class:`BpftraceError` when it cannot be executed."""
        self._stderr_fd: int | None = None
        try:
            with ExitStack() as for_child:  # descriptors that only the child keeps
                script_fd = os.memfd_create("nfszbx.bt", 0)
                for_child.callback(os.close, script_fd)
                self._stderr_fd, write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
                for_child.callback(os.close, write_fd)
                os.set_blocking(write_fd, True)
                with os.fdopen(script_fd, "w", encoding="utf-8", closefd=False) as file:
                    file.write(script.text)
                self._spawn = _Spawn(
                    [script_fd, write_fd],
                    program,
                    # Since 0.23 each update of a full map is a warning, one line each.
                    ["--no-warnings", "-f", "json", f"/proc/self/fd/{script_fd}"],
                    env=_environment(script.environment),
                    echo=False,
                    timeout=None,
                    preexec_fn=_prepare_child(os.getpid(), write_fd),
                )
        except (OSError, pexpect.ExceptionPexpect, ptyprocess.PtyProcessError) as error:
            self._close_stderr()
            raise BpftraceError(
                f"{program} cannot be started: {error}", "nfszbx check looks at the installation"
            ) from None
        self.pid = int(self._spawn.pid or 0)
        self._partial = bytearray()
        self.read_bytes = 0
        """Of its standard output, since its start; what has no line feed yet is kept in memory."""
        self._stderr = b""
        self.last_words: deque[str] = deque(maxlen=_LAST_WORDS)
        """The last lines on standard error."""
        self.ended = False

    def read_lines(self, timeout_seconds: float) -> list[str]:
        """The lines that are there, waiting for the first for so long; none is normal.

        ``ended`` is set once the process is gone and everything it wrote has been read. A last
        line without its line feed is torn and is left out.
        """
        if self.ended:
            return []
        try:
            chunk = self._spawn.read_nonblocking(1 << 16, timeout_seconds)
        except pexpect.TIMEOUT:
            return []
        except pexpect.EOF:
            self._reap()
            return []
        self.read_bytes += len(chunk)
        self._partial += chunk
        if b"\n" not in chunk:
            return []
        *lines, self._partial = self._partial.split(b"\n")
        # The terminal turns every line feed into carriage return and line feed.
        return [line.removesuffix(b"\r").decode(errors="replace") for line in lines]

    def read_stderr_lines(self) -> list[str]:
        """The lines that bpftrace wrote to standard error since the last call; never waits."""
        *lines, partial = (self._stderr + self._read_stderr()).split(b"\n")
        self._stderr = partial[-_MAX_STDERR_BYTES:]
        texts = [line.decode(errors="replace").strip() for line in lines]
        self.last_words.extend(text for text in texts if text)
        return [text for text in texts if text]

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless the process is known to have ended."""
        if not self.ended:
            self._spawn.kill(number)

    @property
    def was_killed(self) -> bool:
        """After the end: did a signal end it?"""
        return self._spawn.signalstatus is not None

    def describe_end(self) -> str:
        """After the end: ``exit status 1``, or ``killed by SIGKILL``."""
        if self._spawn.signalstatus is not None:
            return f"killed by {signal.Signals(self._spawn.signalstatus).name}"
        return f"exit status {self._spawn.exitstatus}"

    def close(self) -> None:
        """End the process now, if it has not ended, and free what it held. May be repeated."""
        self.send_signal(signal.SIGKILL)
        self._reap()
        self._close_stderr()

    def _close_stderr(self) -> None:
        if self._stderr_fd is not None:
            os.close(self._stderr_fd)
            self._stderr_fd = None

    def _reap(self) -> None:
        """Wait for the end, enforce it if need be, and close the terminal."""
        deadline = monotonic_seconds() + _END_SECONDS
        while self._spawn.isalive() and monotonic_seconds() < deadline:
            time.sleep(0.005)
        if self._spawn.isalive():  # it closed its terminal and goes on: of no more use
            self._spawn.kill(signal.SIGKILL)
            self._spawn.wait()
        self._spawn.close()
        self.ended = True

    def _read_stderr(self) -> bytes:
        if self._stderr_fd is None:
            return b""
        try:
            return os.read(self._stderr_fd, _MAX_STDERR_BYTES)
        except BlockingIOError:
            return b""


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    """What bpftrace gets: nothing of the user's environment that could change its output."""
    return {"PATH": os.defpath, "LC_ALL": "C", **_MEMORY, **settings}


def _prepare_child(parent: int, stderr_fd: int) -> Callable[[], None]:
    """What runs in the child between fork and exec: as little as possible."""

    def prepare() -> None:
        os.dup2(stderr_fd, 2)
        os.close(stderr_fd)
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it ended before the line above took effect
            os._exit(1)

    return prepare

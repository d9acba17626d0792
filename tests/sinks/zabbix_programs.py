"""Zabbix' programs from Debian's packages, started by tests and ended with them.

Zabbix 6.0 is that of Debian 12, Zabbix 7.0 that of Debian 13, from a system in a folder.
"""

import hashlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom
from tempfile import TemporaryDirectory

from tests import debian
from tests.debian import build_root, describe_root, find_mirror, get_cached

_USER = "postgres"  # none of the programs runs as root
_PACKAGES = (
    *("postgresql", "zabbix-server-pgsql", "zabbix-frontend-php", "php-cli", "php-pgsql"),
    *("locales", "libsqlite3-0"),
)
# Without it every page of the frontend begins with a complaint.
_MAKE_LOCALE = "--customize-hook=chroot $1 localedef -i en_US -f UTF-8 en_US.UTF-8"
# A machine can have one of server and proxy installed.
_UNPACK_PROXY = (
    'mkdir "$1/proxy" && cd "$1/proxy" && apt-get --quiet --quiet download zabbix-proxy-sqlite3 '
    "&& dpkg-deb --extract *.deb ."
)
_UNPACK_PROXY_THERE = (
    f'--customize-hook=export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"; {_UNPACK_PROXY}'
)
_PROXY = Path("proxy/usr/sbin/zabbix_proxy")

DEADLINE_SECONDS = 30.0  # for whatever takes tenths of a second on an idle machine
STOP_SECONDS = 10.0
POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Installation:
    """Where the packages are installed."""

    root: Path
    proxy: Path
    """The program of Zabbix' proxy, which that system may not be able to run from there."""

    def run_as_user(self, *command: str) -> list[str]:
        """The command, run by the database's user in that system."""
        return ["/usr/sbin/chroot", f"--userspec={_USER}:{_USER}", str(self.root), *command]

    @contextmanager
    def make_home(self) -> Iterator[tuple[Path, Path]]:
        """A temporary directory of that user, and its path as seen from within that system."""
        with TemporaryDirectory(prefix="zabbix-", dir=self.root / "tmp") as home:
            os.chown(home, *self._get_user())
            yield Path(home), Path("/") / Path(home).relative_to(self.root)

    def _get_user(self) -> tuple[int, int]:
        for line in (self.root / "etc/passwd").read_text().splitlines():
            name, _, user, group, *_ = line.split(":")
            if name == _USER:
                return int(user), int(group)
        raise RuntimeError(f"there is no user {_USER}")


def get_debian_12() -> Installation:
    """Debian 12's packages, which are installed; but for the proxy's, which gets unpacked."""

    def build(building: Path) -> None:
        (building / "made").mkdir()
        debian.run("sh", "-e", "-c", _UNPACK_PROXY, "unpack", str(building / "made"))

    digest = hashlib.sha256(_UNPACK_PROXY.encode()).hexdigest()[:12]
    return Installation(Path("/"), get_cached("zabbix", "6.0-proxy", digest, build) / _PROXY)


def get_debian_13() -> Installation:
    """Debian 13's packages, in a folder that is made when there is none yet (one minute)."""

    def describe(mirror: str) -> list[str]:
        hooks = (_MAKE_LOCALE, _UNPACK_PROXY_THERE)
        return describe_root(_PACKAGES, ("trixie",), *hooks, mirror=mirror)

    def build(building: Path) -> None:
        build_root(building / "made", describe(find_mirror()))

    digest = hashlib.sha256("\n".join(describe("mirror")).encode()).hexdigest()[:12]
    root = get_cached("zabbix", "7.0", digest, build)
    return Installation(root, root / _PROXY)


class Daemon:
    """A Zabbix server or proxy, which can be stopped and started again."""

    process: subprocess.Popen[bytes]

    def __init__(self, command: Sequence[str], log: Path, rtc_socket: Path) -> None:
        """``rtc_socket`` is the socket of its run-time control."""
        self._command = command
        self._log = log
        self._rtc_socket = rtc_socket
        self._stack = ExitStack()

    def start(self) -> None:
        """Return when it takes values."""
        with ExitStack() as stack:
            # Trappers are started when the first synchronisation has ended.
            started = service(self._command, self._log, b"[trapper #1]")
            self.process = stack.enter_context(started)
            self._stack = stack.pop_all()

    def stop(self, *, kill: bool = False) -> None:
        """Let it end in good order, or not."""
        if kill:
            os.killpg(self.process.pid, signal.SIGKILL)
        self._stack.close()
        # Its processes share a listening socket; the next one waits for none of them.
        deadline = time.monotonic() + STOP_SECONDS
        with suppress(OSError):
            while time.monotonic() < deadline:
                with socket.socket(socket.AF_UNIX) as probe:
                    probe.connect(str(self._rtc_socket))
                time.sleep(POLL_SECONDS)


def write(path: Path, text: str) -> None:
    """Write a file that a program reads."""
    path.write_text(text)
    path.chmod(0o644)  # for the database's user; nobody else gets into the directory


def free_port() -> int:
    """Return a free loopback port; Zabbix takes none above 32767.

    No outgoing connection takes it in the meantime, because ephemeral ports begin above.
    """
    for port in SystemRandom().sample(range(10_000, 32_768), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("none of 100 ports is free")


def run(arguments: Sequence[str], log: Path, stdin: bytes = b"") -> None:
    """Run a program to its end; RuntimeError with its log when it fails."""
    with _process(arguments, log) as process:
        with suppress(subprocess.TimeoutExpired):
            process.communicate(stdin, DEADLINE_SECONDS)
        if process.returncode != 0:
            raise RuntimeError(report(f"{arguments[0]} failed", log))


@contextmanager
def service(arguments: Sequence[str], log: Path, ready: bytes) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program, from when its log says `ready`."""
    log.write_bytes(b"")
    with _process(arguments, log) as process:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while ready not in log.read_bytes():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(report(f"{arguments[0]} did not come up", log))
            time.sleep(POLL_SECONDS)
        yield process


@contextmanager
def _process(arguments: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in a process group of its own, which is empty in the end."""
    with (
        log.open("ab") as output,
        subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={"LC_ALL": "C.UTF-8", "PHP_CLI_SERVER_WORKERS": "4"},
            process_group=0,
        ) as process,
    ):
        try:
            yield process
        finally:
            # First what Ctrl-C does in a terminal: for all these programs an orderly end.
            for number in (signal.SIGINT, signal.SIGKILL):
                with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                    os.killpg(process.pid, number)
                    process.wait(STOP_SECONDS)


def report(problem: str, log: Path) -> str:
    """The problem, and the end of the log that may explain it."""
    tail = log.read_text(errors="replace").splitlines()[-20:]
    return "\n".join([f"{problem}; the end of {log.name}:", *tail])

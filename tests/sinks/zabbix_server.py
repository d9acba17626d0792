"""A real Zabbix server for tests, from Debian's packages, in two to four seconds.

Needs postgresql, zabbix-server-pgsql, zabbix-frontend-php, php-cli and php-pgsql, but neither
systemd nor a web server, and touches nothing that these packages may run by themselves. Zabbix 6.0
is that of Debian 12, Zabbix 7.0 that of Debian 13, from a system in a folder.
"""

import gzip
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from random import SystemRandom
from tempfile import TemporaryDirectory
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

from tests.debian import build_root, describe_root, find_mirror, get_cached
from tests.sinks.certificates import Certificates

_FRONTEND = Path("usr/share/zabbix")
_SQL = Path("usr/share/zabbix-server-pgsql")
_USER = "postgres"  # none of the programs runs as root
PACKAGES = ("postgresql", "zabbix-server-pgsql", "zabbix-frontend-php", "php-cli", "php-pgsql")
# Without it every page of the frontend begins with a complaint.
_MAKE_LOCALE = "--customize-hook=chroot $1 localedef -i en_US -f UTF-8 en_US.UTF-8"

# What logging in, hosts and dashboards need: 90 rows of data.sql's 32 MB of templates.
_NEEDED = re.compile(
    rb"^INSERT INTO (?:role|role_rule|users|usrgrp|users_groups|hstgrp|config|module) .*?;\n",
    re.MULTILINE | re.DOTALL,
)
_HOST_GROUP_ID = "2"  # "Linux servers" there
_TRAPPER_ITEM = 2
_HISTORY = "3650d"

_SERVER_CONFIG = """\
CacheUpdateFrequency=1
DBHost={home}
DBName=postgres
DBUser=zabbix
ListenIP=127.0.0.1
ListenPort={port}
LogType=console
PidFile={home}/zabbix_server.pid
SocketDir={home}
StartPingers=0
"""
_FRONTEND_CONFIG = """\
<?php
$DB = ['TYPE' => 'POSTGRESQL', 'SERVER' => __DIR__, 'PORT' => '0', 'DATABASE' => 'postgres',
       'USER' => 'zabbix', 'PASSWORD' => '', 'DOUBLE_IEEE754' => true];
"""

_DEADLINE_SECONDS = 30.0  # for whatever takes tenths of a second on an idle machine
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Installation:
    """Where the packages are installed."""

    root: Path = Path("/")

    def run_as_user(self, *command: str) -> list[str]:
        """The command, run by the database's user in that system."""
        return ["/usr/sbin/chroot", f"--userspec={_USER}:{_USER}", str(self.root), *command]

    def get_user(self) -> tuple[int, int]:
        """The numbers of that user and of its group there."""
        for line in (self.root / "etc/passwd").read_text().splitlines():
            name, _, user, group, *_ = line.split(":")
            if name == _USER:
                return int(user), int(group)
        raise RuntimeError(f"there is no user {_USER}")


def get_debian_13() -> Installation:
    """Debian 13's packages, in a folder that is made when there is none yet (one minute)."""

    def describe(mirror: str) -> list[str]:
        return describe_root((*PACKAGES, "locales"), ("trixie",), _MAKE_LOCALE, mirror=mirror)

    def build(building: Path) -> None:
        build_root(building / "made", describe(find_mirror()))

    digest = hashlib.sha256("\n".join(describe("mirror")).encode()).hexdigest()[:12]
    return Installation(get_cached("zabbix", "7.0", digest, build))


@dataclass(frozen=True, order=True)
class HistoryValue:
    """One stored value; `clock` in Unix seconds, `ns` the nanoseconds within that second."""

    clock: int
    ns: int
    value: str


class ZabbixServer(AbstractContextManager["ZabbixServer"]):
    """PostgreSQL, zabbix_server and its frontend, for as long as the context lasts.

    `directory` gets their logs, which stay. All else lives in a temporary directory of its own:
    user postgres cannot enter pytest's directories, and paths of sockets must be short.
    """

    trapper_port: int
    frontend_url: str
    _database: subprocess.Popen[bytes]
    _server: subprocess.Popen[bytes]
    _server_stack: ExitStack

    def __init__(
        self,
        directory: Path,
        installation: Installation,
        certificates: Certificates | None = None,
        server_settings: str = "",
    ) -> None:
        """With ``certificates`` the server takes connections with TLS as well.

        ``server_settings`` are more lines for its configuration.
        """
        self._server_settings = server_settings
        self._logs = directory
        self._installation = installation
        self._certificates = certificates
        self._server_log = directory / "zabbix_server.log"
        self._token: str | None = None

    def __enter__(self) -> Self:
        """Return when trapper and API answer; RuntimeError with the log of what does not."""
        with ExitStack() as stack:
            temporary = self._installation.root / "tmp"
            home = Path(stack.enter_context(TemporaryDirectory(prefix="zabbix-", dir=temporary)))
            os.chown(home, *self._installation.get_user())
            self._home = home
            self._home_there = Path("/tmp") / home.name  # noqa: S108  a folder of that name is in it
            self._start_database(stack)
            self._configure_server()
            stack.callback(self.stop_server)
            self.start_server()
            self._start_frontend(stack)
            self._token = self.call("user.login", {"username": "Admin", "password": "zabbix"})
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def call(self, method: str, params: object) -> Any:  # noqa: ANN401  # as the API pleases
        """Return the result of a method of the JSON-RPC API; RuntimeError with its error text."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        if self._token is not None:
            request["auth"] = self._token
        with closing(self._connect_to_frontend()) as connection:
            headers = {"Content-Type": "application/json-rpc"}
            connection.request("POST", "/api_jsonrpc.php", json.dumps(request), headers)
            answer = connection.getresponse().read()
        try:
            reply = json.loads(answer)
        except ValueError as error:
            raise RuntimeError(f"{method}: {answer!r}") from error
        if "error" in reply:
            raise RuntimeError(f"{method}: {reply['error']['message']} {reply['error']['data']}")
        return reply["result"]

    def create_host(self, name: str, trapper_items: Mapping[str, int]) -> str:
        """Return the id of a new host, which takes values from now on.

        `trapper_items` maps item keys to value types: 0 float, 3 unsigned, 4 text.
        """
        host = {"host": name, "groups": [{"groupid": _HOST_GROUP_ID}]}
        host_id: str = self.call("host.create", host)["hostids"][0]
        for key, value_type in trapper_items.items():
            item = {"name": key, "key_": key, "type": _TRAPPER_ITEM, "value_type": value_type}
            item["history"] = _HISTORY  # values older than that are left out
            self.call("item.create", {"hostid": host_id, **item})
        self.synchronise()
        return host_id

    def create_token(self) -> str:
        """Return an API token of the administrator."""
        name = f"token {time.time_ns()}"
        token_ids = self.call("token.create", {"name": name, "userid": "1"})["tokenids"]
        return str(self.call("token.generate", token_ids)[0]["token"])

    def synchronise(self) -> None:
        """Return when the server works with all that was configured before this call.

        Its log says when a forced synchronisation begins, not when it ends. But the next one
        begins only after that, so this waits for two beginnings; about 0.1 s.
        """
        begin = b"forced reloading of the configuration cache"
        expected = self._server_log.read_bytes().count(begin) + 2
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while self._server_log.read_bytes().count(begin) < expected:
            if time.monotonic() > deadline:
                raise RuntimeError(_report("no synchronisation", self._server_log))
            _run(self._reload, self._logs / "setup.log")
            time.sleep(_POLL_SECONDS)

    def wait_for_history(
        self, host_id: str, key: str, count: int, timeout_seconds: float = 30
    ) -> list[HistoryValue]:
        """Return an item's values by time as soon as there are `count`, or raise TimeoutError.

        The item may be one that discovery has yet to create.
        """
        deadline = time.monotonic() + timeout_seconds
        while len(values := self.read_history(host_id, key)) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{key}: {len(values)} of {count} values: {values}")
            time.sleep(_POLL_SECONDS)
        return values

    @property
    def process_groups(self) -> list[int]:
        """Those of the server and of its database."""
        return [self._server.pid, self._database.pid]

    def log_in(self) -> str:
        """Return the cookie of a session of the administrator in the frontend."""
        form = urlencode({"name": "Admin", "password": "zabbix", "enter": "Sign in"})
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        with closing(self._connect_to_frontend()) as connection:
            connection.request("POST", "/index.php", form, headers)
            return str(connection.getresponse().getheader("Set-Cookie", "")).partition(";")[0]

    def get_page(self, path: str) -> str:
        """Return a page of the frontend, as the administrator sees it."""
        cookie = self.log_in()
        with closing(self._connect_to_frontend()) as connection:
            connection.request("GET", f"/{path}", headers={"Cookie": cookie})
            return connection.getresponse().read().decode()

    def _connect_to_frontend(self) -> HTTPConnection:
        address = urlsplit(self.frontend_url).netloc
        return HTTPConnection(address, timeout=_DEADLINE_SECONDS)

    def find_items(self, host_id: str, key: str) -> list[dict[str, str]]:
        """Return the item with this key, if the host has it."""
        wanted = {"hostids": host_id, "filter": {"key_": key}, "output": ["value_type"]}
        items: list[dict[str, str]] = self.call("item.get", wanted)
        return items

    def read_history(self, host_id: str, key: str) -> list[HistoryValue]:
        """Return the values of an item by time."""
        values = [
            HistoryValue(int(row["clock"]), int(row["ns"]), row["value"])
            for item in self.find_items(host_id, key)
            for row in self.call(
                "history.get", {"itemids": item["itemid"], "history": item["value_type"]}
            )
        ]
        return sorted(values, key=lambda value: (value.clock, value.ns))

    def _start_database(self, stack: ExitStack) -> None:
        """Start a database that is reached only through a socket in its home, and fill it."""
        there, root = self._home_there, self._installation.root
        programs = max(root.glob("usr/lib/postgresql/*/bin"), default=None)
        if programs is None:
            raise RuntimeError("PostgreSQL's server is not installed")
        programs = Path("/") / programs.relative_to(root)
        setup_log = self._logs / "setup.log"
        initdb = [f"{programs}/initdb", "-D", f"{there}/data", "-U", "zabbix", "--auth=trust"]
        options = ["--encoding=UTF8", "--no-locale", "--no-sync"]
        _run(self._there(*initdb, *options), setup_log)
        postgres = [f"{programs}/postgres", "-D", f"{there}/data", "-k", str(there), "-h", "", "-F"]
        postgres += ["-c", "dynamic_shared_memory_type=mmap"]  # the folder may have no /dev/shm
        log = self._logs / "postgresql.log"
        ready = b"ready to accept connections"
        self._database = stack.enter_context(_service(self._there(*postgres), log, ready))
        psql = [f"{programs}/psql", "-h", str(there), "-U", "zabbix", "-d", "postgres"]
        data = _read_schema_and_data(root / _SQL)
        _run(self._there(*psql, "-Xq1", "-v", "ON_ERROR_STOP=1"), setup_log, stdin=data)

    def _configure_server(self) -> None:
        self.trapper_port = _free_port()
        settings = _SERVER_CONFIG.format(home=self._home_there, port=self.trapper_port)
        settings += self._server_settings
        if self._certificates is not None:
            for name, path in self._certificates.server_files.items():
                _write(self._home / path.name, path.read_text())
                settings += f"{name}={self._home_there}/{path.name}\n"
        _write(self._home / "zabbix_server.conf", settings)
        server = ["/usr/sbin/zabbix_server", "-c", f"{self._home_there}/zabbix_server.conf"]
        self._server_command = self._there(*server, "-f")
        self._reload = self._there(*server, "-R", "config_cache_reload")

    def start_server(self) -> None:
        """Start the server, or start it again; the database is another program."""
        with ExitStack() as stack:
            # Trappers are started when the first synchronisation has ended.
            service = _service(self._server_command, self._server_log, b"[trapper #1]")
            self._server = stack.enter_context(service)
            self._server_stack = stack.pop_all()

    def stop_server(self, *, kill: bool = False) -> None:
        """Let it end in good order, or not."""
        if kill:
            os.killpg(self._server.pid, signal.SIGKILL)
        self._server_stack.close()
        # Its processes share a listening socket; the next server waits for none of them.
        deadline = time.monotonic() + _STOP_SECONDS
        with suppress(OSError):
            while time.monotonic() < deadline:
                with socket.socket(socket.AF_UNIX) as probe:
                    probe.connect(str(self._home / "zabbix_server_rtc.sock"))
                time.sleep(_POLL_SECONDS)

    def _start_frontend(self, stack: ExitStack) -> None:
        """Serve Debian's own files, but load the class with the fixed configuration path first."""
        port = _free_port()
        self.frontend_url = f"http://127.0.0.1:{port}/"
        files = self._installation.root / _FRONTEND
        config_class = (files / "include/classes/core/CConfigFile.php").read_text()
        path = "'/etc/zabbix/zabbix.conf.php'"
        _write(self._home / "CConfigFile.php", config_class.replace(path, "__DIR__.'/config.php'"))
        _write(self._home / "config.php", _FRONTEND_CONFIG)
        php = ["/usr/bin/php", "-S", f"127.0.0.1:{port}", "-t", f"/{_FRONTEND}"]
        php += ["-d", f"auto_prepend_file={self._home_there}/CConfigFile.php"]
        log = self._logs / "frontend.log"
        stack.enter_context(_service(self._there(*php), log, b"Development Server"))

    def _there(self, *command: str) -> list[str]:
        return self._installation.run_as_user(*command)


def _read_schema_and_data(folder: Path) -> bytes:
    schema = gzip.decompress((folder / "schema.sql.gz").read_bytes())
    with gzip.open(folder / "data.sql.gz") as data:
        return schema + b"".join(_NEEDED.findall(data.read()))


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o644)  # for the database's user; nobody else gets into the directory


def _free_port() -> int:
    """Return a free loopback port; zabbix_server takes none above 32767.

    No outgoing connection takes it in the meantime, because ephemeral ports begin above.
    """
    for port in SystemRandom().sample(range(10_000, 32_768), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("none of 100 ports is free")


def _run(arguments: Sequence[str], log: Path, stdin: bytes = b"") -> None:
    with _process(arguments, log) as process:
        with suppress(subprocess.TimeoutExpired):
            process.communicate(stdin, _DEADLINE_SECONDS)
        if process.returncode != 0:
            raise RuntimeError(_report(f"{arguments[0]} failed", log))


@contextmanager
def _service(
    arguments: Sequence[str], log: Path, ready: bytes
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program, from when its log says `ready`."""
    log.write_bytes(b"")
    with _process(arguments, log) as process:
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while ready not in log.read_bytes():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(_report(f"{arguments[0]} did not come up", log))
            time.sleep(_POLL_SECONDS)
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
                    process.wait(_STOP_SECONDS)


def _report(problem: str, log: Path) -> str:
    tail = log.read_text(errors="replace").splitlines()[-20:]
    return "\n".join([f"{problem}; the end of {log.name}:", *tail])

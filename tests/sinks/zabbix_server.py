"""A real Zabbix 6.0 server for tests, from Debian 12's packages, in two seconds.

Needs postgresql, zabbix-server-pgsql, zabbix-frontend-php, php-cli and php-pgsql, but neither
systemd nor a web server, and touches nothing that these packages may run by themselves.
"""

import gzip
import json
import os
import re
import shutil
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
from urllib.parse import urlsplit

_FRONTEND = Path("/usr/share/zabbix")
_SQL = Path("/usr/share/zabbix-server-pgsql")
_USER = "postgres" if os.geteuid() == 0 else None  # none of the programs runs as root

# What logging in and creating hosts needs: 60 rows of data.sql's 32 MB of templates.
_NEEDED_ROW = re.compile(rb"INSERT INTO (role|role_rule|users|usrgrp|users_groups|hstgrp|config) ")
_HOST_GROUP_ID = "2"  # "Linux servers" there
_TRAPPER_ITEM = 2

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

    def __init__(self, directory: Path) -> None:
        self._logs = directory
        self._server_log = directory / "zabbix_server.log"
        self._token: str | None = None

    def __enter__(self) -> Self:
        """Return when trapper and API answer; RuntimeError with the log of what does not."""
        with ExitStack() as stack:
            home = Path(stack.enter_context(TemporaryDirectory(prefix="zabbix-")))
            if _USER is not None:
                shutil.chown(home, _USER, _USER)
            self._start_database(stack, home)
            self._start_server(stack, home)
            self._start_frontend(stack, home)
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
        address = urlsplit(self.frontend_url).netloc
        with closing(HTTPConnection(address, timeout=_DEADLINE_SECONDS)) as connection:
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
            self.call("item.create", {"hostid": host_id, **item})
        self.synchronise()
        return host_id

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
        while len(values := self._read_history(host_id, key)) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{key}: {len(values)} of {count} values: {values}")
            time.sleep(_POLL_SECONDS)
        return values

    def _read_history(self, host_id: str, key: str) -> list[HistoryValue]:
        wanted = {"hostids": host_id, "filter": {"key_": key}, "output": ["value_type"]}
        values = [
            HistoryValue(int(row["clock"]), int(row["ns"]), row["value"])
            for item in self.call("item.get", wanted)
            for row in self.call(
                "history.get", {"itemids": item["itemid"], "history": item["value_type"]}
            )
        ]
        return sorted(values, key=lambda value: (value.clock, value.ns))

    def _start_database(self, stack: ExitStack, home: Path) -> None:
        """Start a database that is reached only through a socket in `home`, and fill it."""
        programs = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)
        if programs is None:
            raise RuntimeError("PostgreSQL's server is not installed")
        setup_log = self._logs / "setup.log"
        initdb = [f"{programs}/initdb", "-D", f"{home}/data", "-U", "zabbix", "--auth=trust"]
        _run([*initdb, "--encoding=UTF8", "--no-locale", "--no-sync"], setup_log)
        postgres = [f"{programs}/postgres", "-D", f"{home}/data", "-k", str(home), "-h", "", "-F"]
        log = self._logs / "postgresql.log"
        stack.enter_context(_service(postgres, log, ready=b"ready to accept connections"))
        psql = [f"{programs}/psql", "-h", str(home), "-U", "zabbix", "-d", "postgres"]
        _run([*psql, "-Xq1", "-v", "ON_ERROR_STOP=1"], setup_log, stdin=_schema_and_data())

    def _start_server(self, stack: ExitStack, home: Path) -> None:
        self.trapper_port = _free_port()
        config = home / "zabbix_server.conf"
        _write(config, _SERVER_CONFIG.format(home=home, port=self.trapper_port))
        server = ["/usr/sbin/zabbix_server", "-c", str(config)]
        self._reload = [*server, "-R", "config_cache_reload"]
        # Trappers are started when the first synchronisation has ended.
        stack.enter_context(_service([*server, "-f"], self._server_log, ready=b"[trapper #1]"))

    def _start_frontend(self, stack: ExitStack, home: Path) -> None:
        """Serve Debian's own files, but load the class with the fixed configuration path first."""
        port = _free_port()
        self.frontend_url = f"http://127.0.0.1:{port}/"
        config_class = (_FRONTEND / "include/classes/core/CConfigFile.php").read_text()
        path = "'/etc/zabbix/zabbix.conf.php'"
        _write(home / "CConfigFile.php", config_class.replace(path, "__DIR__.'/config.php'"))
        _write(home / "config.php", _FRONTEND_CONFIG)
        php = ["/usr/bin/php", "-S", f"127.0.0.1:{port}", "-t", str(_FRONTEND)]
        php += ["-d", f"auto_prepend_file={home}/CConfigFile.php"]
        log = self._logs / "frontend.log"
        stack.enter_context(_service(php, log, ready=b"Development Server"))


def _schema_and_data() -> bytes:
    schema = gzip.decompress((_SQL / "schema.sql.gz").read_bytes())
    with gzip.open(_SQL / "data.sql.gz") as data:
        return schema + b"".join(filter(_NEEDED_ROW.match, data))


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o644)  # for `_USER`, whatever the umask; nobody else gets into the directory


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
def _service(arguments: Sequence[str], log: Path, ready: bytes) -> Iterator[None]:
    """Run a program, from when its log says `ready`."""
    log.write_bytes(b"")
    with _process(arguments, log) as process:
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while ready not in log.read_bytes():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(_report(f"{arguments[0]} did not come up", log))
            time.sleep(_POLL_SECONDS)
        yield


@contextmanager
def _process(arguments: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program as `_USER` in a process group of its own, which is empty in the end."""
    with (
        log.open("ab") as output,
        subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={"LC_ALL": "C.UTF-8", "PHP_CLI_SERVER_WORKERS": "4"},
            user=_USER,
            group=_USER,
            extra_groups=None if _USER is None else (),
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

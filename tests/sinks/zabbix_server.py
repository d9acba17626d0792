"""A real Zabbix server for tests, from Debian's packages, in two to four seconds.

Needs postgresql, zabbix-server-pgsql, zabbix-frontend-php, php-cli and php-pgsql, but neither
systemd nor a web server, and touches nothing that these packages may run by themselves.
"""

import gzip
import json
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

from tests.sinks.certificates import Certificates
from tests.sinks.zabbix_programs import (
    DEADLINE_SECONDS,
    POLL_SECONDS,
    Daemon,
    Installation,
    free_port,
    report,
    run,
    service,
    write,
)

_FRONTEND = Path("usr/share/zabbix")
_SQL = Path("usr/share/zabbix-server-pgsql")

# What logging in, hosts and dashboards need: 90 rows of data.sql's 32 MB of templates.
_NEEDED = re.compile(
    rb"^INSERT INTO (?:role|role_rule|users|usrgrp|users_groups|hstgrp|config|module) .*?;\n",
    re.MULTILINE | re.DOTALL,
)
_HOST_GROUP_ID = "2"  # "Linux servers" there
_TRAPPER_ITEM = 2
_HISTORY = "3650d"
_READ_WRITE, _ADMIN_ROLE = 3, "2"

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
    _server: Daemon

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
        self.installation = installation
        self._certificates = certificates
        self._server_log = directory / "zabbix_server.log"
        self._token: str | None = None

    def __enter__(self) -> Self:
        """Return when trapper and API answer; RuntimeError with the log of what does not."""
        with ExitStack() as stack:
            self._home, self._home_there = stack.enter_context(self.installation.make_home())
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

    def create_token(self, user_id: str = "1") -> str:
        """Return an API token, of the first administrator if nobody else is named."""
        name = f"token {time.time_ns()}"
        token_ids = self.call("token.create", {"name": name, "userid": user_id})["tokenids"]
        return str(self.call("token.generate", token_ids)[0]["token"])

    def create_user(self, groups: Sequence[str]) -> str:
        """Return the id of a user with the role Admin and rights for these groups of hosts."""
        kinds = {"rights": "host"}
        if not self.is_before_7_0:
            kinds = {"hostgroup_rights": "host", "templategroup_rights": "template"}
        name = f"user {time.time_ns()}"
        group: dict[str, object] = {"name": name}
        for field, kind in kinds.items():
            wanted = {"output": ["groupid"], "filter": {"name": groups}}
            found = self.call(f"{kind}group.get", wanted) if groups else []  # [] is no filter
            group[field] = [{"id": row["groupid"], "permission": _READ_WRITE} for row in found]
        user_groups = self.call("usergroup.create", group)["usrgrpids"]
        user = {
            "username": name,
            "passwd": f"Pass-{time.time_ns()}",
            "roleid": _ADMIN_ROLE,
            "usrgrps": [{"usrgrpid": user_groups[0]}],
        }
        return str(self.call("user.create", user)["userids"][0])

    def synchronise(self) -> None:
        """Return when the server works with all that was configured before this call.

        Its log says when a forced synchronisation begins, not when it ends. But the next one
        begins only after that, so this waits for two beginnings; about 0.1 s.
        """
        begin = b"forced reloading of the configuration cache"
        expected = self._server_log.read_bytes().count(begin) + 2
        deadline = time.monotonic() + DEADLINE_SECONDS
        while self._server_log.read_bytes().count(begin) < expected:
            if time.monotonic() > deadline:
                raise RuntimeError(report("no synchronisation", self._server_log))
            run(self._reload, self._logs / "setup.log")
            time.sleep(POLL_SECONDS)

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
            time.sleep(POLL_SECONDS)
        return values

    @property
    def is_before_7_0(self) -> bool:
        """With another API for proxies, and no groups of them."""
        return self.installation.root == Path("/")

    @property
    def process_groups(self) -> list[int]:
        """Those of the server and of its database."""
        return [self._server.process.pid, self._database.pid]

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
        return HTTPConnection(address, timeout=DEADLINE_SECONDS)

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
        there, root = self._home_there, self.installation.root
        programs = max(root.glob("usr/lib/postgresql/*/bin"), default=None)
        if programs is None:
            raise RuntimeError("PostgreSQL's server is not installed")
        programs = Path("/") / programs.relative_to(root)
        setup_log = self._logs / "setup.log"
        initdb = [f"{programs}/initdb", "-D", f"{there}/data", "-U", "zabbix", "--auth=trust"]
        options = ["--encoding=UTF8", "--no-locale", "--no-sync"]
        run(self._there(*initdb, *options), setup_log)
        postgres = [f"{programs}/postgres", "-D", f"{there}/data", "-k", str(there), "-h", "", "-F"]
        postgres += ["-c", "dynamic_shared_memory_type=mmap"]  # the folder may have no /dev/shm
        log = self._logs / "postgresql.log"
        ready = b"ready to accept connections"
        self._database = stack.enter_context(service(self._there(*postgres), log, ready))
        psql = [f"{programs}/psql", "-h", str(there), "-U", "zabbix", "-d", "postgres"]
        data = _read_schema_and_data(root / _SQL)
        run(self._there(*psql, "-Xq1", "-v", "ON_ERROR_STOP=1"), setup_log, stdin=data)

    def _configure_server(self) -> None:
        self.trapper_port = free_port()
        settings = _SERVER_CONFIG.format(home=self._home_there, port=self.trapper_port)
        settings += self._server_settings
        if self._certificates is not None:
            for name, path in self._certificates.server_files.items():
                write(self._home / path.name, path.read_text())
                settings += f"{name}={self._home_there}/{path.name}\n"
        write(self._home / "zabbix_server.conf", settings)
        server = ["/usr/sbin/zabbix_server", "-c", f"{self._home_there}/zabbix_server.conf"]
        command = self._there(*server, "-f")
        self._server = Daemon(command, self._server_log, self._home / "zabbix_server_rtc.sock")
        self._reload = self._there(*server, "-R", "config_cache_reload")

    def start_server(self) -> None:
        """Start the server, or start it again; the database is another program."""
        self._server.start()

    def stop_server(self, *, kill: bool = False) -> None:
        """Let it end in good order, or not."""
        self._server.stop(kill=kill)

    def _start_frontend(self, stack: ExitStack) -> None:
        """Serve Debian's own files, but load the class with the fixed configuration path first."""
        port = free_port()
        self.frontend_url = f"http://127.0.0.1:{port}/"
        files = self.installation.root / _FRONTEND
        config_class = (files / "include/classes/core/CConfigFile.php").read_text()
        path = "'/etc/zabbix/zabbix.conf.php'"
        write(self._home / "CConfigFile.php", config_class.replace(path, "__DIR__.'/config.php'"))
        write(self._home / "config.php", _FRONTEND_CONFIG)
        php = ["/usr/bin/php", "-S", f"127.0.0.1:{port}", "-t", f"/{_FRONTEND}"]
        php += ["-d", f"auto_prepend_file={self._home_there}/CConfigFile.php"]
        log = self._logs / "frontend.log"
        stack.enter_context(service(self._there(*php), log, b"Development Server"))

    def _there(self, *command: str) -> list[str]:
        return self.installation.run_as_user(*command)


def _read_schema_and_data(folder: Path) -> bytes:
    schema = gzip.decompress((folder / "schema.sql.gz").read_bytes())
    with gzip.open(folder / "data.sql.gz") as data:
        return schema + b"".join(_NEEDED.findall(data.read()))

"""A real Zabbix proxy for tests, beside a server of :mod:`tests.sinks.zabbix_server`.

What proxies are called in the API has changed with 7.0.
"""

import shutil
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Self

from tests.sinks.zabbix_programs import Daemon, free_port, write
from tests.sinks.zabbix_server import ZabbixServer

_ACTIVE_IN_6_0 = 5
_BY_PROXY, _BY_PROXY_GROUP = 1, 2
_CONFIG = """\
DBName={home}/proxy.sqlite
DataSenderFrequency=1
Hostname={name}
ListenIP=127.0.0.1
ListenPort={port}
LogType=console
PidFile={home}/zabbix_proxy.pid
Server=127.0.0.1:{server_port}
SocketDir={home}
StartPingers=0
{config_frequency}=1
"""


class ZabbixProxy(AbstractContextManager["ZabbixProxy"]):
    """An active proxy: it asks the server for its configuration, and keeps values in SQLite."""

    daemon: Daemon

    def __init__(
        self, server: ZabbixServer, name: str, directory: Path, group_id: str | None = None
    ) -> None:
        """``directory`` gets its log; ``group_id`` is that of its proxy group."""
        self.port = free_port()
        self._server = server
        self._name = name
        self._log = directory / f"{name}.log"
        if server.is_before_7_0:
            proxy: dict[str, object] = {"host": name, "status": _ACTIVE_IN_6_0}
        else:
            proxy = {"name": name, "operating_mode": 0}
        if group_id is not None:
            own = {"local_address": "127.0.0.1", "local_port": str(self.port)}
            proxy |= {"proxy_groupid": group_id, **own}
        self.id: str = server.call("proxy.create", proxy)["proxyids"][0]

    def __enter__(self) -> Self:
        """Return when it runs; it takes values for a host some seconds later."""
        with ExitStack() as stack:
            self._server.synchronise()
            home, there = stack.enter_context(self._server.installation.make_home())
            config = _CONFIG.format(
                home=there,
                name=self._name,
                port=self.port,
                server_port=self._server.trapper_port,
                config_frequency="ConfigFrequency"
                if self._server.is_before_7_0
                else "ProxyConfigFrequency",
            )
            write(home / "zabbix_proxy.conf", config)
            shutil.copy(self._server.installation.proxy, home)
            command = (f"{there}/zabbix_proxy", "-c", f"{there}/zabbix_proxy.conf", "-f")
            self.daemon = Daemon(
                self._server.installation.run_as_user(*command),
                self._log,
                home / "zabbix_proxy_rtc.sock",
            )
            stack.callback(self.daemon.stop)
            self.daemon.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def address(self) -> str:
        """Where it takes values."""
        return f"127.0.0.1:{self.port}"

    def monitor(self, host_id: str) -> None:
        """Give it a host."""
        if self._server.is_before_7_0:
            by: dict[str, object] = {"proxy_hostid": self.id}
        else:
            by = {"monitored_by": _BY_PROXY, "proxyid": self.id}
        self._server.call("host.update", {"hostid": host_id, **by})
        self._server.synchronise()


def monitor_by_group(server: ZabbixServer, host_id: str, group_id: str) -> None:
    """Give a host to a proxy group."""
    by = {"monitored_by": _BY_PROXY_GROUP, "proxy_groupid": group_id}
    server.call("host.update", {"hostid": host_id, **by})
    server.synchronise()

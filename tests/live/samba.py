"""A real, throw-away Samba server on the loopback of a network namespace of its own.

Nothing outside the namespace is touched: port 445 is free there, and the routes that give each
client an address of its own go with it. The kernel's probes see it all the same.
"""

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import pexpect

from tests.processes import end_spawned
from tests.socket_counters import name_client, read_counters

SHARE = "share"
OTHER_SHARE = "Team Fotos ÄÖ"
USER, PASSWORD = "games", "secret"
"""One whom this machine knows."""
# Server address -> the address from which a client reaches it.
CLIENTS = {"127.0.1.1": "127.0.2.1", "127.0.1.2": "127.0.2.2", "::1": "::1"}

_CONFIG = """\
[global]
  server role = standalone server
  map to guest = Bad User
  disable netbios = yes
  smb ports = 445
  load printers = no
  printing = bsd
  private dir = {directory}
  lock directory = {directory}
  state directory = {directory}
  cache directory = {directory}
  pid directory = {directory}
  ncalrpc dir = {directory}/ncalrpc
  log file = {directory}/log
[{share}]
  path = {share_directory}
  read only = no
  guest ok = yes
[{other_share}]
  path = {share_directory}
  guest ok = yes
"""
_START_SECONDS = 20.0


class SambaServer:
    """``with SambaServer() as server``: up at the addresses of :data:`CLIENTS`, port 445."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._directory = Path(tempfile.mkdtemp(prefix="nfszbx-samba-"))
            stack.callback(shutil.rmtree, self._directory)
            self._directory.chmod(0o755)
            self.share_directory = self._directory / SHARE
            self.share_directory.mkdir()
            self.share_directory.chmod(0o777)
            self._make_namespace(stack)
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def command(self, *words: str) -> list[str]:
        """The command, to be run inside the namespace."""
        return ["ip", "netns", "exec", self._namespace, *words]

    def connect(
        self, server_address: str, *, share: str = SHARE, as_user: bool = False
    ) -> "SmbClient":
        """A client that stays connected until it is closed; a guest, or :data:`USER`."""
        who = ["-U", f"{USER}%{PASSWORD}"] if as_user else ["-N"]
        target = f"//{server_address}/{share}"
        return SmbClient(self.command("smbclient", *who, "-s", str(self.config), target))

    def add_user(self) -> None:
        """Let :data:`USER` log on."""
        subprocess.run(
            ["smbpasswd", "-s", "-a", "-c", str(self.config), USER],
            input=f"{PASSWORD}\n{PASSWORD}\n".encode(),
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def make_smbstatus(self) -> Path:
        """An smbstatus that asks this server."""
        program = self._directory / "smbstatus"
        program.write_text(f'#!/bin/sh\nexec smbstatus --configfile={self.config} "$@"\n')
        program.chmod(0o755)
        return program

    def read_socket_bytes(self) -> Counter[tuple[str, str]]:
        """The kernel's own counters of all connections now, by client and direction."""
        output = subprocess.run(
            self.command("ss", "-tinHO", "sport = :445"),
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        return parse_socket_bytes(output)

    def _make_namespace(self, stack: ExitStack) -> None:
        self._namespace = f"nfszbx-{os.getpid()}"
        subprocess.run(["ip", "netns", "add", self._namespace], check=True)
        stack.callback(subprocess.run, ["ip", "netns", "del", self._namespace], check=True)
        ip = ["ip", "-n", self._namespace]
        subprocess.run([*ip, "link", "set", "lo", "up"], check=True)
        # nfszbx sees every namespace, and others may test on this machine at the same time.
        number = os.getpid() % 10_000
        self.own_address = f"127.{1 + number // 100}.{1 + number % 100}.1"
        """A server address that no other test process uses,"""
        self.own_client = f"{self.own_address.rpartition('.')[0]}.2"
        """and from where a client reaches it."""
        for server, client in [*CLIENTS.items(), (self.own_address, self.own_client)]:
            if server != client:
                route = ["local", server, "dev", "lo", "src", client, "table", "local"]
                subprocess.run([*ip, "route", "add", *route], check=True)

    def _start(self, stack: ExitStack) -> None:
        self.config = self._directory / "smb.conf"
        """Of the server; clients may read it as well."""
        text = _CONFIG.format(
            directory=self._directory,
            share=SHARE,
            other_share=OTHER_SHARE,
            share_directory=self.share_directory,
        )
        self.config.write_text(text, encoding="utf-8")
        command = self.command("smbd", "-F", "--no-process-group", "-s", str(self.config))
        # A namespace of mounts would hide nothing; a session lets the whole family be ended.
        smbd = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        stack.callback(smbd.wait)
        stack.callback(smbd.terminate)
        deadline = time.monotonic() + _START_SECONDS
        listeners = self.command("ss", "-tlnH", "sport = :445")
        while not subprocess.run(listeners, check=True, capture_output=True).stdout:
            if smbd.poll() is not None or time.monotonic() > deadline:
                log = self._directory / "log"
                raise RuntimeError(f"smbd did not start: {log.read_text() if log.exists() else ''}")
            time.sleep(0.05)


class SmbClient:
    """An smbclient at its prompt."""

    _PROMPT = re.escape("smb: \\>")

    def __init__(self, command: list[str]) -> None:
        # A terminal wide enough that smbclient's line editor never scrolls what it echoes.
        self._process = pexpect.spawn(
            command[0],
            command[1:],
            timeout=200,
            encoding="utf-8",
            dimensions=(24, 500),
            env={"PATH": os.environ["PATH"], "TERM": "dumb"},
        )
        self._process.expect(self._PROMPT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, line: str) -> None:
        """Give a command; :meth:`finish` waits for its end."""
        self._process.sendline(line)
        self._process.expect_exact(line)  # the terminal's echo

    def finish(self) -> None:
        """Wait for the prompt. Raises RuntimeError with what smbclient says of a failure."""
        self._process.expect(self._PROMPT)
        said = str(self._process.before or "")
        if "NT_STATUS" in said:
            raise RuntimeError(said.strip())

    def close(self) -> None:
        """End the connection."""
        end_spawned(self._process)


def parse_socket_bytes(output: str) -> Counter[tuple[str, str]]:
    """``bytes_received`` and ``bytes_acked`` of ``ss -tinHO``, summed by client and direction."""
    counts: Counter[tuple[str, str]] = Counter()
    for line in output.splitlines():
        client = name_client(line.split()[4].rpartition(":")[0])
        for direction, count in read_counters(line).items():
            counts[client, direction] += count
    return counts

"""Clients in network namespaces of their own: each a machine as far as the server can tell."""

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

MOUNT_ATTEMPTS = 5


def run(*command: str, text: str | None = None) -> str:
    """Run a program to its end; its output. Raises with what it said when it fails."""
    result = subprocess.run(
        command, input=text, capture_output=True, text=True, errors="replace", check=False
    )
    if result.returncode != 0:
        said = (result.stderr + result.stdout).strip()
        raise RuntimeError(f"{' '.join(command)} ended with {result.returncode}: {said}")
    return result.stdout


@dataclass(frozen=True)
class Client:
    """One client; the server has an address in each client's network."""

    number: int

    @property
    def name(self) -> str:
        return f"client{self.number}"

    def address(self, *, ipv6: bool = False) -> str:
        """Its own address: what nfszbx is to name it."""
        return f"fd09:{self.number}::2" if ipv6 else f"10.9.{self.number}.2"

    def server(self, *, ipv6: bool = False) -> str:
        """The server's address as this client reaches it."""
        return f"fd09:{self.number}::1" if ipv6 else f"10.9.{self.number}.1"

    @property
    def device(self) -> str:
        """The server's end of the cable."""
        return f"veth{self.number}"

    def command(self, *command: str) -> list[str]:
        """The command, to be run from this client's network and under its host name.

        ``ip netns exec`` would give it a mount namespace as well, and its mounts would vanish.
        """
        set_name = f'hostname {self.name}; exec "$@"'
        entered = ["nsenter", f"--net=/run/netns/{self.name}", "unshare", "--uts"]
        return [*entered, "sh", "-c", set_name, "sh", *command]

    def run(self, *command: str) -> str:
        """Run a program there."""
        return run(*self.command(*command))

    def mount(self, kind: str, source: str, options: str) -> Path:
        """Mount a share of the server's; where."""
        place = Path(f"/mnt/{self.name}")
        place.mkdir(parents=True, exist_ok=True)
        for attempt in range(MOUNT_ATTEMPTS):
            try:
                self.run("mount", "-t", kind, "-o", options, source, str(place))
            except RuntimeError:
                if attempt == MOUNT_ATTEMPTS - 1:
                    raise
                time.sleep(2.0)  # a daemon that has just been started may not listen yet
            else:
                break
        return place

    def unmount(self) -> None:
        """Undo it."""
        self.run("umount", f"/mnt/{self.name}")


CLIENTS = tuple(Client(number) for number in range(1, 5))


def make_clients() -> None:
    """Make the namespaces and the cables to them."""
    for client in CLIENTS:
        run("ip", "netns", "add", client.name)
        peer = ("peer", "name", "eth0", "netns", client.name)
        run("ip", "link", "add", client.device, "type", "veth", *peer)
        there = ("ip", "-n", client.name)
        for ip, device, four, six in (
            (("ip",), client.device, client.server(), client.server(ipv6=True)),
            (there, "eth0", client.address(), client.address(ipv6=True)),
        ):
            run(*ip, "addr", "add", f"{four}/24", "dev", device)
            run(*ip, "-6", "addr", "add", f"{six}/64", "dev", device, "nodad")
            run(*ip, "link", "set", device, "up")
        run(*there, "link", "set", "lo", "up")

"""A Debian under systemd with nfszbx as a service, and an NFS client of it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from tests.socket_counters import read_counters
from tests.vm.machine import Machine

CLIENT, SERVER = "10.9.1.2", "10.9.1.1"
COMMAND_SECONDS = 240.0
WAIT_SECONDS = 180.0
_POLL_SECONDS = 2.0

T = TypeVar("T")


class CommandError(Exception):
    """A command in the machine did not end well."""


@dataclass
class System:
    """Runs commands there and asks the service."""

    machine: Machine
    suite: str
    port: int = 20490
    """Of the Prometheus endpoint."""
    before: dict[str, int] = field(default_factory=dict)
    """What was counted of connections that have closed: mount asks on one of its own."""

    def run(self, command: str) -> str:
        """What a command prints. Raises CommandError, MachineLostError."""
        outcome = self.machine.run(f"( {command}\n) 2>&1", COMMAND_SECONDS)
        if outcome.status != 0:
            raise CommandError(f"'{command}' ended with {outcome.status}:\n{outcome.output}")
        return outcome.output.strip()

    def fails(self, command: str) -> bool:
        """Does a command fail there?"""
        return self.machine.run(f"( {command}\n) >/dev/null 2>&1", COMMAND_SECONDS).status != 0

    def show(self, name: str) -> str:
        """A property of the unit."""
        return self.run(f"systemctl show --property {name} --value nfszbx")

    def main_pid(self) -> int:
        """Of nfszbx; 0 while there is none."""
        return int(self.show("MainPID"))

    def wait_for(self, what: str, ask: Callable[[], T]) -> T:
        """Until the answer is true."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not (answer := ask()):
            if time.monotonic() > deadline:
                raise CommandError(f"{what} did not come:\n{self.tell()}")
            time.sleep(_POLL_SECONDS)
        return answer

    def tell(self) -> str:
        """What the service has said last."""
        return self.machine.run("journalctl -u nfszbx -o cat | tail -n 30", COMMAND_SECONDS).output

    def add_client(self) -> None:
        """A machine of its own as far as the server can tell, with the export mounted."""
        self.run(
            "ip netns add client && ip link add veth1 type veth peer name eth0 netns client\n"
            f"ip addr add {SERVER}/24 dev veth1 && ip link set veth1 up\n"
            f"ip -n client addr add {CLIENT}/24 dev eth0 && ip -n client link set eth0 up\n"
            f"ping -c1 -W1 {CLIENT} >/dev/null 2>&1\n"
            "mount_it() { nsenter --net=/run/netns/client "
            f"mount -t nfs -o vers=3,nolock,tcp {SERVER}:/srv /mnt; }}\n"
            "mount_it || { sleep 5; mount_it; }"
        )
        self.wait_for("the mount", lambda: self.count()["receive"] > 0)
        self.wait_for_intervals(3)
        counted, sockets = self.count(), self.read_sockets()
        self.before = {name: counted[name] - sockets[name] for name in counted}

    def wait_for_intervals(self, intervals: int) -> None:
        """Until so many more have been measured."""
        name = "nfszbx_intervals_total"
        begin = self.scrape()[name]
        self.wait_for("intervals", lambda: self.scrape().get(name, 0) >= begin + intervals)

    def move(self, megabytes: int) -> None:
        """Write that much to the export, and read it."""
        self.run(
            f"dd if=/dev/urandom of=/mnt/file bs=1M count={megabytes} conv=fsync status=none && "
            "echo 3 >/proc/sys/vm/drop_caches && dd if=/mnt/file of=/dev/null bs=1M status=none"
        )

    def read_sockets(self) -> dict[str, int]:
        """The kernel's own counters of the client's connections, by direction."""
        (line,) = self.run(f"ss -tinHO 'sport = :2049 and dst {CLIENT}'").splitlines()
        return {name: n + self.before.get(name, 0) for name, n in read_counters(line).items()}

    def scrape(self) -> dict[str, float]:
        """The metrics by name and labels; nothing while the endpoint does not answer."""
        outcome = self.machine.run(f"python3 /src/scrape.py {self.port} 2>&1", COMMAND_SECONDS)
        if outcome.status != 0:
            return {}
        lines = [line for line in outcome.output.splitlines() if line and line[0] != "#"]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def count(self) -> dict[str, int]:
        """What nfszbx has counted of the client, by direction."""
        found = self.scrape()
        labels = f'{{client="{CLIENT}",service="nfsd",transport="tcp"}}'
        return {
            direction: int(found.get(f"nfszbx_client_{direction}_bytes_total{labels}", -1))
            for direction in ("receive", "transmit")
        }

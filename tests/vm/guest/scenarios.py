"""The scenarios: servers, several clients at once, and what they do. Each prints its results."""

import functools
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from os import kill
from pathlib import Path

from tests.live.samba import SmbClient
from tests.vm.guest import servers
from tests.vm.guest.clients import CLIENTS, Client, run
from tests.vm.guest.counting import INTERVAL_SECONDS, wait_for_all, wait_for_flow
from tests.vm.guest.measurement import Measurement, measured
from tests.vm.guest.truth import read_mount_bytes
from tests.vm.guest.workloads import WORKLOADS, do_at_once, large_file, metadata, small_files

NFS_VERSIONS = ("3", "4.0", "4.1", "4.2")
UDP_BLOCKS = "30"
SETTLING_INTERVALS = 8
"""Until what was missed has been found."""
SHORT_NFS_CONNECTIONS, SHORT_SMB_CONNECTIONS = 350, 40


def nfs_ipv4() -> None:
    """Every version of NFS over IPv4, every kind of work."""
    _measure_nfs(ipv6=False)


def nfs_ipv6() -> None:
    """The same over IPv6."""
    _measure_nfs(ipv6=True)


def nfs_tls() -> None:
    """NFS over TLS."""
    servers.start_tls()
    mounts = dict.fromkeys(CLIENTS[:3], "vers=4.2,xprtsec=tls")
    with _nfs_mounted(mounts, ipv6=False) as places:
        for work in (large_file, metadata):
            with measured(f"NFS over TLS, {_title(work)}"):
                do_at_once(functools.partial(work, place) for place in places)


def nfs_map_readers() -> None:
    """NFS while another program reads BPF maps all the time, during which probes may not run."""
    mounts = dict(zip(CLIENTS, ("vers=3,nolock", "vers=4.1", "vers=4.2"), strict=False))
    with _nfs_mounted(mounts, ipv6=False) as places, _map_reader():
        for work in (small_files, large_file):
            with measured(f"NFS beside a reader of BPF maps, {_title(work)}"):
                do_at_once(functools.partial(work, place) for place in places)
        when = "beside a reader of BPF maps"
        _measure_short_connections("nfs", servers.NFS_PORT, SHORT_NFS_CONNECTIONS, when)


@contextmanager
def _map_reader() -> Iterator[None]:
    program = "profile:hz:99 { @[rand % 4000] = count(); } interval:ms:20 { print(@); }"
    with subprocess.Popen(["bpftrace", "-e", program], stdout=subprocess.DEVNULL) as reader:
        try:
            yield
            if reader.poll() is not None:
                raise RuntimeError("the reader of BPF maps has ended")
        finally:
            reader.kill()


def nfs_udp() -> None:
    """NFS over UDP, which nfsd begins to serve after nfszbx has begun to count."""
    servers.listen("udp", servers.NFS_PORT)
    wait_for_flow("nfsd_udp")

    def work(measurement: Measurement, client: Client) -> None:
        ipv6 = client.number % 2 == 0
        program = ("python3", "-m", "tests.vm.guest.udp_client")
        said = client.run(*program, client.server(ipv6=ipv6), str(servers.EXPORT), UDP_BLOCKS)
        measurement.add_closed("nfsd_udp", client.address(ipv6=ipv6), *map(int, said.split()))

    with measured("NFS over UDP") as measurement:
        do_at_once(functools.partial(work, measurement, client) for client in CLIENTS)


def nfs_rdma() -> None:
    """NFS over RDMA; its truth is what the kernel's clients say of their mounts."""
    servers.start_rdma()
    wait_for_flow("nfsd_rdma")
    with mounted_by_rdma() as places:
        for number, place in enumerate(places.values()):
            (place / f"rdma{number}").mkdir()
        for work in (small_files, large_file, metadata):
            with measured(f"NFS over RDMA, {_title(work)}") as measurement:
                before = {address: read_mount_bytes(place) for address, place in places.items()}
                folders = [place / f"rdma{number}" for number, place in enumerate(places.values())]
                do_at_once(functools.partial(work, folder) for folder in folders)
                for address, place in places.items():
                    counts = zip(read_mount_bytes(place), before[address], strict=True)
                    moved = (new - old for new, old in counts)
                    measurement.add_closed("nfsd_rdma", address, *moved)


@contextmanager
def mounted_by_rdma() -> Iterator[dict[str, Path]]:
    """By the client's address, where the export is mounted; the first by NFS 4.2, the rest by 3."""
    # The clients are the server itself, at three of its addresses: soft RDMA knows no namespaces.
    addresses = {
        CLIENTS[0].server(): f"{CLIENTS[0].server()}:/ vers=4.2,proto=rdma",
        CLIENTS[1].server(): f"{CLIENTS[1].server()}:/export vers=3,nolock,noacl,proto=rdma",
        CLIENTS[2].server(ipv6=True): f"[{CLIENTS[2].server(ipv6=True)}]:/export "
        "vers=3,nolock,noacl,proto=rdma6,mountproto=tcp6",
    }
    places = {}
    for number, (address, mount) in enumerate(addresses.items()):
        source, _, options = mount.partition(" ")
        places[address] = Path(f"/mnt/rdma{number}")
        places[address].mkdir(parents=True, exist_ok=True)
        options += f",port={servers.RDMA_PORT},hard"
        run("mount", "-t", "nfs", "-o", options, source, str(places[address]))
    yield places
    for place in places.values():
        run("umount", str(place))


def nfs_short_connections() -> None:
    """Thousands of connections to nfsd that last for one call."""
    _measure_short_connections("nfs", servers.NFS_PORT, SHORT_NFS_CONNECTIONS)


def nfs_restart() -> None:
    """nfsd is stopped and started again between two halves of the clients' work."""
    mounts = dict(zip(CLIENTS, ("vers=3,nolock", "vers=4.1", "vers=4.2"), strict=False))
    measurement = Measurement("NFS, nfsd restarted")
    with _nfs_mounted(mounts, ipv6=False) as places:
        with measurement.piece():
            do_at_once(functools.partial(small_files, place) for place in places)
        servers.stop_nfsd()
        servers.start_nfsd()
        with measurement.piece():
            do_at_once(functools.partial(small_files, place) for place in places)
    measurement.report()


def nfs_killed() -> None:
    """bpftrace is killed under the clients' work, and starts again; nothing is lost for good."""
    mounts = dict(zip(CLIENTS, ("vers=3,nolock", "vers=4.1", "vers=4.2"), strict=False))
    counts_again = threading.Event()

    def work(place: Path) -> None:
        large_file(place)
        while not counts_again.is_set():  # gently: bpftrace has to start beside it
            small_files(place)
            time.sleep(INTERVAL_SECONDS)

    def kill_bpftrace() -> None:
        try:
            run("pkill", "-KILL", "-x", "bpftrace")
            wait_for_all()
        finally:
            counts_again.set()

    with _nfs_mounted(mounts, ipv6=False) as places, measured("NFS, bpftrace killed"):
        do_at_once((kill_bpftrace, *(functools.partial(work, place) for place in places)))
        time.sleep(SETTLING_INTERVALS * INTERVAL_SECONDS)


def smbd_cifs() -> None:
    """smbd with the kernel's client, plain, signed and encrypted, copying and by sendfile."""
    for share in ("copied", "sendfile"):
        _measure_cifs("smbd", share, servers.SMB_PORT)


def smbd_smbclient() -> None:
    """smbd with smbclient, plain, signed and encrypted, copying and by sendfile."""
    for share in ("copied", "sendfile"):
        _measure_smbclient("smbd", share, servers.SMB_PORT)


def smbd_short_connections() -> None:
    """Connections to smbd, and so processes, that last for one call; and a new smbd half-way."""
    count = SHORT_SMB_CONNECTIONS
    _measure_short_connections("smb", servers.SMB_PORT, count)
    kill(int(Path("/run/samba/smbd.pid").read_text()), signal.SIGTERM)
    time.sleep(2.0)
    servers.start_smbd()
    _measure_short_connections("smb", servers.SMB_PORT, count, "smbd restarted")


def ksmbd_cifs() -> None:
    """ksmbd with the kernel's client, plain, signed and encrypted."""
    _measure_cifs("ksmbd", "copied", servers.KSMBD_PORT)


def ksmbd_smbclient() -> None:
    """ksmbd with smbclient."""
    _measure_smbclient("ksmbd", "copied", servers.KSMBD_PORT)


def _measure_nfs(*, ipv6: bool) -> None:
    mounts = {
        client: f"vers={version}" + (",nolock" if version == "3" else "")
        for client, version in zip(CLIENTS, NFS_VERSIONS, strict=True)
    }
    family = "IPv6" if ipv6 else "IPv4"
    with _nfs_mounted(mounts, ipv6=ipv6) as places:
        for work in WORKLOADS:
            with measured(f"NFS {', '.join(NFS_VERSIONS)} over {family}, {_title(work)}"):
                do_at_once(functools.partial(work, place) for place in places)


@contextmanager
def _nfs_mounted(mounts: dict[Client, str], *, ipv6: bool) -> Iterator[list[Path]]:
    """A mount for each client; a folder of its own in each, made before."""
    places = []
    for client, options in mounts.items():
        server = f"[{client.server(ipv6=True)}]" if ipv6 else client.server()
        path = "/export" if "vers=3" in options else "/"
        place = client.mount("nfs", f"{server}:{path}", f"{options},hard") / client.name
        place.mkdir(exist_ok=True)
        places.append(place)
    yield places
    for client in mounts:
        client.unmount()


def _measure_short_connections(protocol: str, port: int, count: int, when: str = "") -> None:
    service = servers.SERVICES[port]
    title = f"{service}, {count * len(CLIENTS)} short connections" + (f", {when}" if when else "")

    def connect(measurement: Measurement, client: Client) -> None:
        ipv6 = client.number % 2 == 0
        program = ("python3", "-m", "tests.vm.guest.short_connections")
        server = client.server(ipv6=ipv6)
        said = client.run(*program, protocol, server, str(port), str(count))
        measurement.add_closed(service, client.address(ipv6=ipv6), *map(int, said.split()))

    with measured(title) as measurement:
        do_at_once(functools.partial(connect, measurement, client) for client in CLIENTS)


def _measure_cifs(service: str, share: str, port: int) -> None:
    protections = {"plain": "", "signed": ",sec=ntlmsspi", "encrypted": ",seal"}
    clients = CLIENTS[: len(protections)]
    places = [
        client.mount(
            "cifs",
            f"//{client.server()}/{share}",
            f"vers=3.1.1,port={port},user={servers.USER},pass={servers.PASSWORD}{option}",
        )
        / client.name
        for client, option in zip(clients, protections.values(), strict=True)
    ]
    for place in places:
        place.mkdir(exist_ok=True)
    for work in (small_files, large_file, metadata):
        title = f"{service} with mount.cifs ({', '.join(protections)}), share {share}"
        with measured(f"{title}, {_title(work)}"):
            do_at_once(functools.partial(work, place) for place in places)
    for client in clients:
        client.unmount()


def _measure_smbclient(service: str, share: str, port: int) -> None:
    """Each smbclient keeps its connection until all counters are read."""
    protections = ("off", "sign", "encrypt")
    source = Path("/run/smbclient-source")
    run("dd", "if=/dev/urandom", f"of={source}", "bs=1M", "count=3", "status=none")
    released = Path("/run/smbclient-released")
    released.unlink(missing_ok=True)
    sessions = ExitStack()
    sessions.callback(released.touch)

    def work(client: Client, protection: str) -> None:
        command = ("smbclient", f"//{client.server()}/{share}", "-p", str(port))
        user = ("-U", f"{servers.USER}%{servers.PASSWORD}", f"--client-protection={protection}")
        session = sessions.enter_context(SmbClient(client.command(*command, *user)))
        name = f"{client.name}.data"
        for line in (f"put {source} {name}", *[f"get {name} /dev/null"] * 2):
            session.start(line)
            session.finish()
        # At its prompt smbclient would ask for signs of life while the counters are compared.
        session.start(f"!until [ -e {released} ]; do sleep 0.2; done")

    with sessions, measured(f"{service} with smbclient ({', '.join(protections)}), share {share}"):
        do_at_once(
            functools.partial(work, client, protection)
            for client, protection in zip(CLIENTS, protections, strict=False)
        )


def _title(work: Callable[[Path], None]) -> str:
    return work.__name__.replace("_", " ")


SCENARIOS: dict[str, Callable[[], None]] = {
    scenario.__name__: scenario
    for scenario in (
        nfs_ipv4,
        nfs_ipv6,
        nfs_tls,
        nfs_short_connections,
        nfs_restart,
        nfs_killed,
        nfs_map_readers,
        nfs_udp,
        nfs_rdma,
        smbd_cifs,
        smbd_smbclient,
        smbd_short_connections,
        ksmbd_cifs,
        ksmbd_smbclient,
    )
}

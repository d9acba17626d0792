"""The servers inside a test machine, set up as their manuals say."""

import subprocess
import time
from pathlib import Path

from tests.vm.guest.clients import CLIENTS, run

NFS_PORT, SMB_PORT, KSMBD_PORT, RDMA_PORT = 2049, 445, 1445, 20049
SERVICES = {NFS_PORT: "nfsd", SMB_PORT: "smbd", KSMBD_PORT: "ksmbd"}
USER, PASSWORD = "root", "pw"
EXPORT, SMB_FOLDER, KSMBD_FOLDER = Path("/export"), Path("/srv/smb"), Path("/srv/ksmbd")

_SMB_CONF = f"""\
[global]
  smb ports = {SMB_PORT}
  server role = standalone server
  disable netbios = yes
  load printers = no
  log file = /var/log/samba/smbd.log
[copied]
  path = {SMB_FOLDER}
  read only = no
  use sendfile = no
[sendfile]
  path = {SMB_FOLDER}
  read only = no
  use sendfile = yes
"""
_KSMBD_CONF = f"""\
[global]
	tcp port = {KSMBD_PORT}
	netbios name = KSMBD
[copied]
	path = {KSMBD_FOLDER}
	read only = no
"""


def start_nfsd(threads: int = 8) -> None:
    """Start knfsd, or start it again."""
    if not Path("/proc/fs/nfsd/threads").exists():
        run("modprobe", "nfsd")
        run("mount", "-t", "nfsd", "nfsd", "/proc/fs/nfsd")
        run("mount", "-t", "rpc_pipefs", "sunrpc", "/run/rpc_pipefs")
        _make_folder(EXPORT)
        Path("/etc/exports").write_text(
            f"{EXPORT} *(rw,no_root_squash,no_subtree_check,insecure,fsid=0)\n"
        )
        run("rpcbind", "-w")
        run("rpc.statd", "--no-notify")
        run("nfsdcld")
        run("exportfs", "-ra")
        run("rpc.mountd")
        Path("/proc/fs/nfsd/nfsv4gracetime").write_text("10")
    run("rpc.nfsd", "--nfs-version", "4.0", str(threads))  # late versions leave it out
    try:
        Path("/proc/fs/nfsd/v4_end_grace").write_text("Y")
    except OSError:
        time.sleep(10.5)  # "busy" for a moment at times; then wait for the end of it
    wait_for_listener(NFS_PORT)


def listen(transport: str, port: int) -> None:
    """Let nfsd, while it runs, listen on one more transport, unless it does."""
    listeners = Path("/proc/fs/nfsd/portlist")
    if f"{transport} {port}" not in listeners.read_text().splitlines():
        listeners.write_text(f"{transport} {port}")


def start_rdma() -> None:
    """Make a soft RDMA device on each client's cable, unless there are, and let nfsd listen."""
    run("modprobe", "rdma_rxe")
    for client in CLIENTS:
        name = f"rxe{client.number}"
        if not Path(f"/sys/class/infiniband/{name}").exists():
            run("rdma", "link", "add", name, "type", "rxe", "netdev", client.device)
    listen("rdma", RDMA_PORT)


def stop_nfsd() -> None:
    """Stop knfsd: its threads end, its sockets close."""
    run("rpc.nfsd", "0")


def start_smbd() -> int:
    """Start smbd; its process id."""
    for folder in ("/run/samba", "/var/log/samba", "/var/lib/samba/private", "/var/cache/samba"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    _make_folder(SMB_FOLDER)
    Path("/etc/samba/smb.conf").write_text(_SMB_CONF)
    run("smbpasswd", "-s", "-a", USER, text=f"{PASSWORD}\n{PASSWORD}\n")
    run("smbd", "-D")
    wait_for_listener(SMB_PORT)
    return int(Path("/run/samba/smbd.pid").read_text())


def start_ksmbd() -> None:
    """Start ksmbd. It listens on the network devices that are there now."""
    _make_folder(KSMBD_FOLDER)
    Path("/etc/ksmbd/ksmbd.conf").write_text(_KSMBD_CONF)
    run("modprobe", "ksmbd")
    run("ksmbd.adduser", "-a", USER, "-p", PASSWORD)
    run("ksmbd.mountd")
    wait_for_listener(KSMBD_PORT)


def start_tls() -> None:
    """Make certificates, and start the handshake daemon of the server and of every client."""
    folder = Path("/etc/nfszbx-tls")
    folder.mkdir()
    authority, key, certificate = folder / "ca.pem", folder / "key.pem", folder / "cert.pem"
    names = [address for c in CLIENTS for address in (c.server(), c.address())]
    extensions = folder / "extensions"
    extensions.write_text("subjectAltName=DNS:vm," + ",".join(f"IP:{name}" for name in names))
    new = ("openssl", "req", "-newkey", "rsa:2048", "-nodes")
    run(
        *new,
        "-x509",
        "-subj",
        "/CN=test authority",
        "-keyout",
        f"{folder}/ca.key",
        "-out",
        str(authority),
    )
    run(*new, "-subj", "/CN=vm", "-keyout", str(key), "-out", f"{folder}/request.pem")
    run(
        *("openssl", "x509", "-req", "-in", f"{folder}/request.pem", "-out", str(certificate)),
        *("-CA", str(authority), "-CAkey", f"{folder}/ca.key", "-CAcreateserial"),
        *("-extfile", str(extensions)),
    )
    sides = "".join(
        f"[authenticate.{side}]\nx509.truststore={authority}\n"
        f"x509.certificate={certificate}\nx509.private_key={key}\n"
        for side in ("client", "server")
    )
    configuration = folder / "tlshd.conf"
    configuration.write_text(f"[debug]\nloglevel=0\n{sides}")
    run("modprobe", "tls")
    daemon = ("tlshd", "-c", str(configuration))
    for command in ([*daemon], *(client.command(*daemon) for client in CLIENTS)):
        subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    time.sleep(1.0)


def wait_for_listener(port: int, timeout_seconds: float = 60.0) -> None:
    """Until someone listens."""
    deadline = time.monotonic() + timeout_seconds
    while not run("ss", "-Hltn", f"sport = :{port}").strip():
        if time.monotonic() > deadline:
            raise RuntimeError(f"nobody listens on port {port}")
        time.sleep(0.1)


def _make_folder(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o1777)

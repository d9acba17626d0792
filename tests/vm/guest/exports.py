"""Exports of all kinds, what the kernel calls each of them, and what nfszbx does.

The script that reads the kernel's numbers knows the layout of one row, and does not use nfszbx's.
"""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nfszbx.operations.exports import ExportTable
from tests.vm.guest.clients import CLIENTS, run

OPTIONS = "rw,no_root_squash,no_subtree_check,insecure"
FOLDER = Path("/exports")
KEYS = Path("/run/keys")
SECONDS_TO_ATTACH = 120.0
# rawtracepoint:nfsd_fh_verify is (rqstp, fhp, type, access); the export is set by then. Linux 6.12:
# svc_fh.fh_export 144, svc_export.ex_path 64, mount.mnt 32, mnt_id 300, mnt_id_unique 304.
SCRIPT = r"""
BEGIN { printf("ready\n"); }
rawtracepoint:nfsd_fh_verify {
  $export = *(uint64 *)(arg1 + 144);
  if ($export != 0) {
    $mount = *(uint64 *)($export + 64);
    $dentry = *(uint64 *)($export + 72);
    $inode = (uint64)0;
    if ($dentry != *(uint64 *)$mount) { $inode = ((struct dentry *)$dentry)->d_inode->i_ino; }
    printf("key %llu %u %llu\n", *(uint64 *)($mount + 272), *(uint32 *)($mount + 268), $inode);
  }
}
"""


def main() -> None:
    """Print each path with the names that its operations got, and the kernel's lists."""
    _make_exports()
    tables = {unique: ExportTable(Path("/"), unique=unique) for unique in (False, True)}
    found: dict[str, list[list[str]]] = {}
    recorded = []
    with _watch_keys():
        for version, source, path in _list_mounts():
            keys = _use(version, source)
            names = []
            for unique, table in tables.items():
                table.refresh()
                names.append(sorted({table.find_path(k[0 if unique else 1], k[2]) for k in keys}))
            found[f"{version} {path}"] = names
            recorded.append({"path": path, "version": version, "keys": keys})
    print(json.dumps({"found": found}))
    print(json.dumps({"keys": recorded}))
    pid = run("pidof", "rpc.mountd").split()[0]
    for name in ("net/rpc/nfsd.export/content", "mountinfo", "comm"):
        print(json.dumps({name: Path(f"/proc/{pid}/{name}").read_text()}))


def _make_exports() -> None:
    for name in ("a/data", "b/data", "source", "bound", "with blank", "cross", "cross/child"):
        (FOLDER / name).mkdir(parents=True, exist_ok=True)
    run("mount", "--bind", str(FOLDER / "source"), str(FOLDER / "bound"))
    run("modprobe", "loop")
    run("truncate", "--size=16M", "/run/disk")
    run("mke2fs", "-q", "-F", "/run/disk")
    run("mount", "-o", "loop", "/run/disk", str(FOLDER / "cross/child"))
    (FOLDER / "cross/child/sub").mkdir()
    for number, name in enumerate(("a/data", "b/data", "bound", "with blank")):
        run("exportfs", "-o", f"{OPTIONS},fsid={number + 10}", f"*:{FOLDER / name}")
    run("exportfs", "-o", f"{OPTIONS},crossmnt", f"*:{FOLDER / 'cross'}")


def _list_mounts() -> Iterator[tuple[str, str, str]]:
    """Version, what to mount or to go to, and the export that is meant."""
    for name in ("a/data", "b/data", "bound", "with blank", "cross", "cross/child"):
        yield "3", f"{FOLDER / name}", f"{FOLDER / name}"
    yield "4.2", "/", "/export"  # the one with fsid=0
    run("exportfs", "-u", "*:/export")  # then there is a pseudo root
    run("exportfs", "-f")
    for name in ("a/data", "with blank", "cross/child"):
        yield "4.2", f"{FOLDER / name}", f"{FOLDER / name}"


def _use(version: str, source: str) -> list[tuple[int, int, int]]:
    """The keys of what is done in the mount, once that is there."""
    client = CLIENTS[0]
    place = client.mount("nfs", f"{client.server()}:{source}", f"vers={version},nolock,noac")
    try:
        time.sleep(0.5)
        before = len(KEYS.read_text())
        (place / "file").write_text("text")
        for _ in range(3):
            (place / "file").stat()
        time.sleep(1.0)
        said = KEYS.read_text()[before:]
    finally:
        client.unmount()
    keys = re.findall(r"^key (\d+) (\d+) (\d+)$", said, re.MULTILINE)
    return sorted({(int(unique), int(number), int(inode)) for unique, number, inode in keys})


@contextmanager
def _watch_keys() -> Iterator[None]:
    command = ["bpftrace", "-B", "line", "-e", SCRIPT]
    with (
        KEYS.open("w") as output,
        subprocess.Popen(command, stdout=output, stderr=subprocess.PIPE, text=True) as bpftrace,
    ):
        try:
            deadline = time.monotonic() + SECONDS_TO_ATTACH
            while "ready" not in KEYS.read_text():
                if bpftrace.poll() is not None or time.monotonic() > deadline:
                    bpftrace.kill()
                    raise RuntimeError(bpftrace.communicate()[1])
                time.sleep(0.2)
            time.sleep(3.0)  # "ready" is said by the first probe, before the last is attached
            yield
        finally:
            bpftrace.terminate()


main()

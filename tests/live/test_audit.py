"""nfszbx compares itself with the kernel's sockets while it runs, and says when it is wrong."""

import time
from pathlib import Path

from tests.live.running import Document, NfszbxRun
from tests.live.samba import CLIENTS, SambaServer
from tests.processes import write_program

EVERY_SECOND = {"NFSZBX_AUDIT_INTERVAL_SECONDS": "1"}
AUDITS = 3

# Runs the real bpftrace with a script that counts a half of what is received.
HALVING = r"""
case "${!#}" in
/proc/self/fd/*)
    sed 's/^\( *@.*_bytes\[.*\] = \)sum(\$bytes)/\1sum($bytes \/ 2)/' "${!#}" >"$0.bt"
    exec bpftrace -f json "$0.bt" ;;
*) exec bpftrace "$@" ;;
esac
"""


def test_agrees_while_clients_come_work_and_leave(samba: SambaServer, tmp_path: Path) -> None:
    payload = _make_payload(tmp_path)
    with NfszbxRun(environment=EVERY_SECOND) as run:
        _audits_from_now(run, 1)
        for _ in range(3):
            for number, address in enumerate(CLIENTS):
                with samba.connect(address) as client:
                    client.start(f'put "{payload}" f{number}')
                    client.finish()
                    client.start(f"get f{number} /dev/null")
                    client.finish()
        with samba.connect(next(iter(CLIENTS))):  # one that stays
            document = _audits_from_now(run, AUDITS)
    assert document["health"]["drift_ratio"]["smbd"] == {"receive": 0, "transmit": 0}
    assert all(
        ratio == 0
        for each in run.documents
        for directions in each["health"].get("drift_ratio", {}).values()
        for ratio in directions.values()
    )
    assert not [line for line in run.log_lines if "audit" in line]


def test_a_wrong_count_is_noticed(samba: SambaServer, tmp_path: Path) -> None:
    payload = _make_payload(tmp_path)
    environment = {**EVERY_SECOND, "NFSZBX_BPFTRACE": write_program(tmp_path / "bpftrace", HALVING)}
    with NfszbxRun(environment=environment) as run:
        _audits_from_now(run, 1)
        with samba.connect(next(iter(CLIENTS))) as client:
            client.start(f'put "{payload}" f')
            client.finish()
            _audits_from_now(run, AUDITS)
    ratios = [
        each["health"]["drift_ratio"]["smbd"]["receive"]
        for each in run.documents
        if "drift_ratio" in each["health"]
    ]
    # The bounds are as wide as what flows around a dump.
    assert -0.51 < min(ratios) < -0.3
    warnings = [line for line in run.log_lines if "audit: smbd and ksmbd, receive: counted" in line]
    assert len(warnings) == 1
    assert any("agree with the kernel's sockets again" in line for line in run.log_lines)


def _make_payload(folder: Path) -> Path:
    path = folder / "payload"
    path.write_bytes(b"x" * 20_000_000)
    return path


def _audits_from_now(run: NfszbxRun, count: int) -> Document:
    """Wait until so many more audits have ended; the document of the last."""
    done = run.wait_for_dump()["health"]["audits_total"]
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        document = run.next_document()
        if document["health"]["audits_total"] >= done + count:
            return document
    raise AssertionError("no audit")

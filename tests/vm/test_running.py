"""What nfszbx says and notices while it runs beside the scenarios, on every kernel."""

import json
import time

import pytest

from tests.vm.lab import Lab

pytestmark = pytest.mark.timeout(1800)

NFSZBX = "python3 -m nfszbx"
GUEST = "python3 -m tests.vm.guest"
SETTLE_SECONDS = 120.0
AUDIT_SECONDS = 180.0


def read_log(lab: Lab, way: str) -> str:
    return lab.run(f"cat /run/counting/{way}.log")


def wait_for_log(lab: Lab, way: str, words: str) -> None:
    deadline = time.monotonic() + SETTLE_SECONDS
    while words not in (log := read_log(lab, way)):
        assert time.monotonic() < deadline, log
        time.sleep(2.0)


def listen(lab: Lab, listener: str) -> None:
    """Let nfsd listen; it refuses when it does already."""
    lab.run(
        f"echo '{listener}' >/proc/fs/nfsd/portlist || grep -q '{listener}' /proc/fs/nfsd/portlist"
    )


def test_servers_and_modules_that_come_later(lab: Lab) -> None:
    """nfszbx was started before any server; it says that it waits, and when it plans anew."""
    listen(lab, "udp 2049")
    for way in lab.exact_ways:
        assert "no file server listens on port 445, 1445, 2049 yet; watching" in read_log(lab, way)
        wait_for_log(lab, way, "nfsd has begun to listen on udp 2049; planning anew")
        last = lab.run(f"tail -n 2 /run/counting/{way}.jsonl").splitlines()[0]
        document = json.loads(last)
        assert document["health"]["not_measured"] == 0
        restarts = document["health"]["child_restarts_total"]
        assert {reason for reason, count in restarts.items() if count} <= {"killed"}  # nfs_killed


def test_what_a_way_misses_is_a_number(lab: Lab) -> None:
    """Of those that are not exact there: a part of what is received, and a part of what is sent."""
    for way in lab.row.inexact_ways:
        run = f"{NFSZBX} run --way {way} --sink console --interval-seconds 1"
        (line,) = lab.run(f"{run} 2>/dev/null | head -n 1").splitlines()
        health = json.loads(line)["health"]
        assert health["not_measured"] == 2
        assert not any(health["child_restarts_total"].values())


def test_kernel_without_types_of_its_modules(lab: Lab) -> None:
    """Up to 5.10 modules have none; the kernel's own are enough, and check says what counts."""
    listen(lab, "udp 2049")
    types = lab.run("ls /sys/kernel/btf").split()
    assert ("sunrpc" in types) == (lab.row.kernel != "5.10")
    said = lab.run(f"{NFSZBX} check")
    assert "nfsd   RPC messages over " in said
    assert "Not measured" not in said


def wait_for_audit(lab: Lab, way: str) -> str:
    """What the audits have found; an nfszbx may have been started just now, and takes its time."""
    deadline = time.monotonic() + AUDIT_SECONDS
    while True:
        audits, _, drifts = lab.run(f"{GUEST} drifts {way}").partition(" audits, drifts: ")
        if int(audits):
            return drifts
        assert time.monotonic() < deadline, f"{way}: no audit"
        time.sleep(5)


def test_counts_agree_with_the_sockets_all_the_time(lab: Lab) -> None:
    """The audits beside all scenarios have found no drift, but of TLS as tracepoints see it.

    A message or two are no drift: what a missed run did not see, kprobes count with the next one.
    """
    for way in lab.exact_ways:
        drifts = wait_for_audit(lab, way)
        if way != "tracepoint":
            log = read_log(lab, way)
            assert "WARNING: audit" not in log, drifts + log


def test_what_cannot_be_counted_is_said(lab: Lab) -> None:
    """With kprobes switched off nothing is left for NFS over UDP."""
    listen(lab, "udp 2049")
    switch = "/sys/kernel/debug/kprobes/enabled"
    said = lab.run(f"echo 0 >{switch}; {NFSZBX} check; {NFSZBX} check --json; echo 1 >{switch}")
    assert "NFS over udp 2049: kprobes are switched off" in said
    assert '"what": "NFS over udp 2049"' in said


@pytest.mark.parametrize(
    "fragment", ["receive_kprobe", "transmit_kprobe", "receive_rpc", "transmit_rpc"]
)
def test_fragment_by_itself(lab: Lab, fragment: str) -> None:
    """Those that this machine's own kernel may not have the types or probes for."""
    option = "$(bpftrace --help 2>&1 | grep -o -- --dry-run || echo -d)"
    types = "BPFTRACE_BTF=/sys/kernel/btf/vmlinux"  # as nfszbx gives it to those that need it
    script = f"/src/scripts/bpftrace/{fragment}.bt"
    said = lab.run(f"{types} bpftrace {option} {script} 2>&1 | grep ERROR || true")
    assert said == ""

"""Facts of machines that are laid out in a folder."""

from pathlib import Path

import pytest

from nfszbx.kernel import tracing
from nfszbx.kernel.facts import PRESENT, Fact, Presence, absent

TRACEFS = "sys/kernel/tracing"


def lay_out(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


KALLSYMS = """\
ffffffff81000000 T tcp_sendmsg
ffffffff81000001 T tcp_sendmsg_locked
ffffffff81000002 t tcp_cleanup_rbuf
ffffffff81000003 r __ksymtab_do_tcp_sendpages
ffffffffc0000000 t svc_process\t[sunrpc]
"""


def test_symbols(tmp_path: Path) -> None:
    lay_out(tmp_path, {"proc/kallsyms": KALLSYMS})
    facts = tracing.read_symbols(tmp_path, ["tcp_sendmsg", "tcp_cleanup_rbuf", "do_tcp_sendpages"])
    assert [fact.presence for fact in facts.values()] == ["present", "present", "absent"]


@pytest.mark.parametrize("files", [{}, {"proc/kallsyms": ""}])
def test_unreadable_symbols_are_unknown_not_absent(files: dict[str, str], tmp_path: Path) -> None:
    facts = tracing.read_symbols(lay_out(tmp_path, files), ["tcp_sendmsg"])
    assert facts["tcp_sendmsg"].presence is Presence.UNKNOWN


def test_traceable_functions(tmp_path: Path) -> None:
    files = {
        f"{TRACEFS}/events/sock/enable": "0",
        f"{TRACEFS}/available_filter_functions": "tcp_sendmsg\nnfsd_dispatch [nfsd]\n",
    }
    symbols = {
        "tcp_sendmsg": PRESENT,
        "nfsd_dispatch": PRESENT,
        "inlined": PRESENT,
        "gone": absent("not in this kernel"),
    }
    facts = tracing.read_traceable(lay_out(tmp_path, files), symbols, symbols)
    assert facts["tcp_sendmsg"].is_present
    assert facts["nfsd_dispatch"].is_present
    assert facts["inlined"].is_absent
    assert "inlined" in facts["inlined"].reason
    assert facts["gone"].is_absent


def test_without_the_list_a_function_is_unknown_but_a_missing_one_absent(tmp_path: Path) -> None:
    symbols = {"there": PRESENT, "gone": absent("not in this kernel")}
    facts = tracing.read_traceable(tmp_path, symbols, symbols)
    assert facts["there"].presence is Presence.UNKNOWN
    assert facts["gone"].is_absent


@pytest.mark.parametrize("place", [TRACEFS, "sys/kernel/debug/tracing"])
def test_tracefs_where_bpftrace_looks(place: str, tmp_path: Path) -> None:
    lay_out(tmp_path, {f"{place}/events/sock/sock_recv_length/format": ""})
    assert tracing.read_tracefs(tmp_path).is_present
    facts = tracing.read_tracepoints(tmp_path, ["sock:sock_recv_length", "sock:sock_send_length"])
    assert [fact.presence for fact in facts.values()] == ["present", "absent"]


def test_empty_mount_point_is_no_tracefs(tmp_path: Path) -> None:
    (tmp_path / TRACEFS).mkdir(parents=True)
    assert tracing.read_tracefs(tmp_path).is_absent
    facts = tracing.read_tracepoints(tmp_path, ["sock:sock_recv_length"])
    assert facts["sock:sock_recv_length"].presence is Presence.UNKNOWN


def test_tracefs_that_is_not_for_us_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a user other than root sees it, who may not look into it."""

    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_dir", refuse)
    assert tracing.read_tracefs(tmp_path).presence is Presence.UNKNOWN
    assert tracing.read_kprobes(tmp_path).presence is Presence.UNKNOWN


def test_symbols_of_a_module_that_is_loaded(tmp_path: Path) -> None:
    lay_out(tmp_path, {"proc/kallsyms": KALLSYMS})
    facts = tracing.read_symbols(tmp_path, ["svc_process", "svc_send"])
    assert facts["svc_process"].is_present
    assert facts["svc_send"] == absent("not in this kernel, as it is loaded")


MEMBERS = ("svc_rqst", "rq_prot", "rq_deferred", "rq_addr", "rq_arg", "rq_res", "sv_name")


def test_types_of_the_rpc_servers(tmp_path: Path) -> None:
    """A type that is only announced has its name there, and none of its members."""
    names = "\0".join(["", *MEMBERS, ""])
    whole = lay_out(tmp_path / "whole", {"sys/kernel/btf/vmlinux": names})
    assert tracing.read_rpc_types(whole).is_present
    announced = lay_out(tmp_path / "announced", {"sys/kernel/btf/vmlinux": "\0svc_rqst\0"})
    assert "rq_prot" in tracing.read_rpc_types(announced).reason
    assert tracing.read_rpc_types(tmp_path).is_absent


@pytest.mark.parametrize(
    ("text", "presence"),
    [
        ("[none] integrity confidentiality\n", Presence.PRESENT),
        ("none [integrity] confidentiality\n", Presence.PRESENT),
        ("none integrity [confidentiality]\n", Presence.ABSENT),
        (None, Presence.PRESENT),
    ],
)
def test_lockdown(text: str | None, presence: Presence, tmp_path: Path) -> None:
    lay_out(tmp_path, {"sys/kernel/security/lockdown": text} if text else {})
    assert tracing.read_kernel_memory(tmp_path).presence is presence


def test_kprobes(tmp_path: Path) -> None:
    assert tracing.read_kprobes(tmp_path).presence is Presence.UNKNOWN
    lay_out(tmp_path, {f"{TRACEFS}/events/x": ""})
    assert tracing.read_kprobes(tmp_path).is_absent
    lay_out(tmp_path, {"sys/bus/event_source/devices/kprobe/type": "8"})
    assert tracing.read_kprobes(tmp_path).is_present
    lay_out(tmp_path, {"sys/kernel/debug/kprobes/enabled": "0\n"})
    assert "switched off" in tracing.read_kprobes(tmp_path).reason


@pytest.mark.parametrize(
    ("version", "text", "mode"),
    [
        ("#1 SMP PREEMPT_DYNAMIC Debian 6.1.176-1", "none (voluntary) full \n", "voluntary"),
        ("#1 SMP PREEMPT_DYNAMIC Debian 7.2.13-1", "full (lazy) \n", "lazy"),
        ("#1 SMP PREEMPT_DYNAMIC Debian", None, "unknown"),
        ("#1 SMP PREEMPT_DYNAMIC Debian", "(new)", "unknown"),
        ("#1 SMP PREEMPT_RT Debian", None, "full"),
        ("#1 SMP PREEMPT Arch", None, "full"),
        ("#1 SMP Debian 5.10.226-1", None, "voluntary"),
    ],
)
def test_preemption(version: str, text: str | None, mode: str, tmp_path: Path) -> None:
    lay_out(tmp_path, {"sys/kernel/debug/sched/preempt": text} if text else {})
    assert tracing.read_preemption(tmp_path, version) == mode


@pytest.mark.parametrize(
    ("user_id", "effective", "presence"),
    [
        (0, "000001ffffffffff", "present"),
        (0, "0000000000200000", "present"),  # CAP_SYS_ADMIN alone
        (0, "000000c000000000", "absent"),  # CAP_BPF and CAP_PERFMON
        (1000, "000001ffffffffff", "absent"),
        (0, None, "unknown"),
    ],
)
def test_privilege(user_id: int, effective: str | None, presence: str, tmp_path: Path) -> None:
    if effective:
        lay_out(tmp_path, {"proc/self/status": f"Name:\tx\nCapEff:\t{effective}\n"})
    assert tracing.read_privilege(tmp_path, user_id).presence == presence


def test_listening_ports(tmp_path: Path) -> None:
    """/proc/net/tcp as the kernel prints it: 445 and 2049 listen, 22 is a connection."""
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
    files = {
        "proc/net/tcp": f"{head}   0: 00000000:01BD 00000000:0000 0A 00000000:00000000\n"
        "   1: 0100007F:0016 0100007F:1234 01 00000000:00000000\n",
        "proc/net/tcp6": f"{head}   0: {'0' * 32}:0801 {'0' * 32}:0000 0A 00000000:00000000\n",
    }
    assert tracing.read_listening_ports(lay_out(tmp_path, files)) == (445, 2049)


def test_other_transports_of_nfsd(tmp_path: Path) -> None:
    assert tracing.read_other_nfsd_transports(tmp_path) == ()
    lay_out(tmp_path, {"proc/fs/nfsd/portlist": "rdma 20049\ntcp 2049\ntcp 2049\nudp 2049\n"})
    assert tracing.read_other_nfsd_transports(tmp_path) == ("rdma 20049", "udp 2049")


def test_fact_reads_well() -> None:
    assert PRESENT.is_present
    assert not absent("x").is_present
    assert Fact(Presence.UNKNOWN, "y").reason == "y"


def test_threads_of_nfsd(tmp_path: Path) -> None:
    """Those that run; the kernel does not keep the rest of the line any more."""
    assert tracing.read_nfsd_threads(tmp_path) == 0
    text = "rc 0 1 2\nio 3 4\nth 8 0 0.000 0.000\nra 0\nnet 1 0 1 1\n"
    assert tracing.read_nfsd_threads(lay_out(tmp_path, {"proc/net/rpc/nfsd": text})) == 8

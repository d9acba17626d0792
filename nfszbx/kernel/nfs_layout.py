"""Where nfsd and the RPC servers keep what the scripts of NFS operations read.

The offsets come from the type information of the kernel and of its modules. A kernel that has none
for modules (before v5.11) gets those of nfsd that long-lived kernels of that time have
(5.10.220 and later); there the scripts prove them at each request.
"""

from collections.abc import Mapping
from pathlib import Path

from nfszbx.kernel.btf import Btf
from nfszbx.kernel.facts import Fact, NfsLayout, absent, missing_layout, unknown

_KERNEL_MEMBERS = {
    "kthread_data": ("kthread", "data"),
    "rq_addr": ("svc_rqst", "rq_addr"),
    "rq_argp": ("svc_rqst", "rq_argp"),
    "rq_proc": ("svc_rqst", "rq_proc"),
    "rq_prog": ("svc_rqst", "rq_prog"),
    "rq_resp": ("svc_rqst", "rq_resp"),
    "rq_server": ("svc_rqst", "rq_server"),
    "rq_stime": ("svc_rqst", "rq_stime"),
    "rq_uid": ("svc_rqst", "rq_cred.cr_uid"),
    "rq_vers": ("svc_rqst", "rq_vers"),
    "rq_xprt": ("svc_rqst", "rq_xprt"),
    "sv_name": ("svc_serv", "sv_name"),
    "sk_receive_queue": ("sock", "sk_receive_queue"),
    "sk_user_data": ("sock", "sk_user_data"),
    "mnt_root": ("vfsmount", "mnt_root"),
    "d_inode": ("dentry", "d_inode"),
    "i_ino": ("inode", "i_ino"),
}
_TASK_MEMBERS = {
    "start_time": ("task_struct", "start_time"),
    "start_boottime": ("task_struct", "start_boottime"),
}
_NFSD_MEMBERS = {
    "fh_export": ("svc_fh", "fh_export"),
    "fh_maxsize": ("svc_fh", "fh_maxsize"),
    "ex_mnt": ("svc_export", "ex_path.mnt"),
    "ex_dentry": ("svc_export", "ex_path.dentry"),
    "args_rqstp": ("nfsd4_compoundargs", "rqstp"),
    "args_ops": ("nfsd4_compoundargs", "ops"),
    "args_minorversion": ("nfsd4_compoundargs", "minorversion"),
    "res_rqstp": ("nfsd4_compoundres", "rqstp"),
    "res_current_fh": ("nfsd4_compoundres", "cstate.current_fh"),
    "op_num": ("nfsd4_op", "opnum"),
    "op_status": ("nfsd4_op", "status"),
    "res_opcnt": ("nfsd4_compoundres", "opcnt"),
    "op_cp_bytes": ("nfsd4_op", "u.copy.cp_res.wr_bytes_written"),
    "nfs3_fh": ("nfsd3_readres", "fh"),
    "xpt_flags": ("svc_xprt", "xpt_flags"),
}
_POINTER_BYTES = 8
_WITHOUT_BTF = {
    # struct text of Debian's 5.10.262, checked against its binaries (5.10.223).
    "fh_export": 144,
    "fh_maxsize": 132,
    "ex_mnt": 64,
    "ex_dentry": 72,
    "args_rqstp": 16,
    "args_ops": 48,
    "args_minorversion": 36,
    "res_rqstp": 8,
    "res_current_fh": 40,
    "op_num": 0,
    "op_status": 4,
    "res_opcnt": 36,
    "op_cp_bytes": 104,
    "op_size": 544,
    "nfs3_fh": 8,
    "xpt_flags": 56,
    "svsk_sk": 536,
}


def read_layout(root: Path) -> NfsLayout:
    """The layout of the kernel that runs, from ``/sys/kernel/btf``; takes about 0.1 s.

    All is missing while nfsd is neither loaded nor a part of the kernel.
    """
    folder = root / "sys/kernel/btf"
    try:
        # The folder /proc/fs/nfsd is there for any kernel that could have nfsd.
        places = ("sys/module/nfsd", "proc/fs/nfsd/threads")
        if not any((root / place).exists() for place in places):
            return missing_layout(absent("nfsd is not loaded"))
        kernel = Btf((folder / "vmlinux").read_bytes())
        modules = [path.name for path in folder.iterdir() if path.name != "vmlinux"]
        nfsd = Btf((folder / "nfsd").read_bytes(), kernel) if "nfsd" in modules else None
    except OSError as error:
        return missing_layout(unknown(f"{error.filename}: {error.strerror}"))
    except ValueError as error:
        return missing_layout(unknown(f"/sys/kernel/btf: {error}"))
    return find_layout(kernel, nfsd, modules_have_types=bool(modules))


def find_layout(kernel: Btf, nfsd: Btf | None, *, modules_have_types: bool) -> NfsLayout:
    """The layout by the types of the kernel and those of nfsd, None if it has none of its own."""
    offsets: dict[str, int] = {}
    missing: dict[str, Fact] = {}
    _look_up(kernel, {**_KERNEL_MEMBERS, **_TASK_MEMBERS}, offsets, missing)
    # Since Linux kernel commit e32cf5dfbe22 ("kthread: Generalize pf_io_worker so it can point to
    # struct kthread") (in v5.17); before, set_child_tid pointed there.
    for member in ("set_child_tid", "worker_private"):
        _look_up(kernel, {"task_kthread": ("task_struct", member)}, offsets, missing)
    # Since Linux kernel commit 98d2b43081972 ("add unique mount ID") (in v6.8).
    for member in ("mnt_id", "mnt_id_unique"):
        _look_up(kernel, {"mnt_id": ("mount", member)}, offsets, missing)
    is_unique = _find(kernel, "mount", "mnt_id_unique") is not None
    begin = _find(kernel, "mount", "mnt")
    if begin is not None and "mnt_id" in offsets:
        offsets["mnt_id"] -= begin  # all that an export has is a pointer to there
    types = nfsd or kernel
    is_assumed = not (types.has("svc_fh") or modules_have_types)
    if is_assumed:
        offsets |= _WITHOUT_BTF
    else:
        _look_up(types, _NFSD_MEMBERS, offsets, missing)
        # struct svc_sock begins with sk_xprt, sk_sock and sk_sk; nfsd knows the first one's type
        # alone. What is found there proves itself: its sk_user_data points back.
        for name, structure, more in (
            ("op_size", "nfsd4_op", 0),
            ("svsk_sk", "svc_xprt", _POINTER_BYTES),
        ):
            try:
                offsets[name] = types.size_of(structure) + more
            except LookupError as error:
                missing[name] = absent(str(error))
    held = {name: missing[name] for name in sorted(missing) if name not in offsets}
    return NfsLayout(dict(sorted(offsets.items())), held, is_assumed, is_unique)


def _look_up(
    types: Btf,
    members: Mapping[str, tuple[str, str]],
    offsets: dict[str, int],
    missing: dict[str, Fact],
) -> None:
    """Add what is there; what is not keeps the offset it had."""
    for name, (structure, path) in members.items():
        try:
            offsets[name] = types.offset_of(structure, path)
        except LookupError as error:
            missing[name] = absent(str(error))


def _find(types: Btf, structure: str, path: str) -> int | None:
    try:
        return types.offset_of(structure, path)
    except LookupError:
        return None

"""Gathers the facts of the machine that nfszbx runs on."""

import os
import sys
from dataclasses import replace
from pathlib import Path

from nfszbx.kernel import tracing
from nfszbx.kernel.bpftrace import finds_btf, read_bpftrace, read_function_exit, read_info
from nfszbx.kernel.facts import FUNCTIONS, SYMBOLS, TRACEPOINTS, KernelFacts
from nfszbx.kernel.nfs_layout import read_layout


def read_facts(bpftrace_path: str | None = None) -> KernelFacts:
    """The facts of this machine; never raises, what cannot be asked is unknown.

    ``bpftrace_path`` is the configured program, None to look it up. Costs about half a second:
    two kernel tables of some megabytes and two short runs of bpftrace.
    """
    root = Path("/")
    uname = os.uname()
    privilege = tracing.read_privilege(root, os.geteuid())
    bpftrace = read_bpftrace(bpftrace_path)
    info = read_info(bpftrace, privilege)
    bpftrace = replace(bpftrace, finds_btf=finds_btf(info))
    symbols = tracing.read_symbols(root, SYMBOLS)
    return KernelFacts(
        release=uname.release,
        machine=uname.machine,
        byte_order=sys.byteorder,
        privilege=privilege,
        kernel_memory=tracing.read_kernel_memory(root),
        tracefs=tracing.read_tracefs(root),
        btf=tracing.read_btf(root),
        rpc_types=tracing.read_rpc_types(root),
        kprobes=tracing.read_kprobes(root),
        preemption=tracing.read_preemption(root, uname.version),
        function_exit=read_function_exit(bpftrace, info),
        bpftrace=bpftrace,
        symbols=symbols,
        traceable=tracing.read_traceable(root, symbols, FUNCTIONS),
        tracepoints=tracing.read_tracepoints(root, TRACEPOINTS),
        listening_ports=tracing.read_listening_ports(root),
        other_nfsd_transports=tracing.read_other_nfsd_transports(root),
        nfsd_threads=tracing.read_nfsd_threads(root),
        nfs_layout=read_layout(root),
    )


def read_nfs_facts(facts: KernelFacts) -> KernelFacts:
    """The facts with what has come with nfsd, which may have been loaded since."""
    root = Path("/")
    symbols = tracing.read_symbols(root, SYMBOLS)
    return replace(
        facts,
        kprobes=tracing.read_kprobes(root),
        symbols=symbols,
        traceable=tracing.read_traceable(root, symbols, FUNCTIONS),
        tracepoints=tracing.read_tracepoints(root, TRACEPOINTS),
        nfsd_threads=tracing.read_nfsd_threads(root),
        nfs_layout=read_layout(root),
    )

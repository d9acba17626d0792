"""Tracepoints as raw ones: their programs run when those of others are left out.

The kernel leaves out the programs of kprobes and tracepoints on a CPU while another one runs there,
and while a task there is inside an operation on a BPF map (``bpf_prog_active``,
``bpf_disable_instrumentation``); on preemptible kernels such a task can be away for long. Programs
of raw tracepoints do not heed that (``__bpf_trace_run`` in kernel/trace/bpf_trace.c, Linux 5.10 to
7.2). They get the arguments of the tracepoint in the kernel's source, not the fields made of them.
"""

import re

_FIELD = re.compile(r"\bargs->(\w+)")
# The prototypes in include/trace/events/sock.h and fs/nfsd/trace.h.
_ARGUMENTS = {
    "sock:inet_sock_set_state": {"skaddr": "arg0", "oldstate": "arg1", "newstate": "arg2"},
    "nfsd:nfsd_compound_status": {
        "args_opcnt": "(uint32)arg0",
        "resp_opcnt": "(uint32)arg1",
        "status": "(uint32)arg2",  # in network byte order, unlike the field
    },
    "nfsd:nfsd_drc_found": {"result": "(uint32)arg2"},
    "nfsd:nfsd_garbage_args_err": {},
    "nfsd:nfsd_read_io_done": {"len": "(uint32)arg3"},
    "sunrpc:svc_xprt_dequeue": {},
}


def use_raw_tracepoint(fragment: str) -> str:
    """The fragment with the raw tracepoint, or as it is where it has no use for it."""
    for name, arguments in _ARGUMENTS.items():
        probe = f"\ntracepoint:{name}\n"
        if probe in fragment:
            text = fragment.replace(probe, f"\nrawtracepoint:{name.partition(':')[2]}\n")
            return _FIELD.sub(lambda match: arguments[match[1]], text)  # noqa: B023  used at once
    return fragment

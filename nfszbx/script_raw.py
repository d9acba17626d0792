"""The tracepoint of connections' states, as a raw one: its programs always run.

The kernel leaves out the programs of kprobes and tracepoints on a CPU while another one runs there,
and while a task there is inside an operation on a BPF map (``bpf_prog_active``,
``bpf_disable_instrumentation``); on preemptible kernels such a task can be away for long. Programs
of raw tracepoints do not heed that (``__bpf_trace_run`` in kernel/trace/bpf_trace.c, Linux 5.10 to
7.2). They get the arguments of the tracepoint in the kernel's source, not the fields made of them.
"""

import re

_FIELD = re.compile(r"\bargs->(\w+)")
# The prototype of inet_sock_set_state in include/trace/events/sock.h.
_ARGUMENTS = {"skaddr": "arg0", "oldstate": "arg1", "newstate": "arg2"}


def use_raw_tracepoint(fragment: str) -> str:
    """The fragment with the raw tracepoint, or as it is where it has no use for it."""
    name = "inet_sock_set_state"
    text = fragment.replace(f"\ntracepoint:sock:{name}\n", f"\nrawtracepoint:{name}\n")
    if text == fragment:
        return fragment
    return _FIELD.sub(lambda match: _ARGUMENTS[match[1]], text)

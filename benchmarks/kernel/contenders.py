"""The programs whose cost is compared: each counts the same calls of the same server."""

import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.bpftraces import BEGIN_MARK, Bpftrace, end, running
from benchmarks.loopback import PORT
from nfszbx.config import Config, Way
from nfszbx.kernel.facts import KernelFacts
from nfszbx.plan import Plan, make_plan
from nfszbx.script import Script, render_script
from nfszbx.traffic import Direction

SERVER_NAME = "smbd"
"""The name of the server's task: the one-counter script looks for it."""
EMPTY, ONE_COUNTER, HAND_WRITTEN = "empty probes", "one counter", "by hand in C"
TCPTOP = Path("/usr/sbin/tcptop")
"""That of libbpf-tools: it brings what it needs, and runs on other kernels as it is."""
_START_SECONDS = 120.0
_BEGIN = f'BEGIN {{ printf("{BEGIN_MARK}\\n"); }}\n'
_NO_DUMPS_SECONDS = 3600


class CannotRunError(Exception):
    """A program has ended before it counted: kernels refuse some."""


@dataclass(frozen=True)
class Contender:
    """Something that counts, started by :meth:`running`."""

    name: str

    @contextmanager
    def running(self, folder: Path) -> Iterator[int]:
        """While it counts; its process. ``folder`` is below ``/tmp``."""
        raise NotImplementedError


@dataclass(frozen=True)
class ScriptContender(Contender):
    """A script of bpftrace."""

    script: Script
    bpftrace: Bpftrace

    @contextmanager
    def running(self, folder: Path) -> Iterator[int]:
        """While bpftrace has its probes attached."""
        path = folder / f"{self.name.replace(' ', '_')}.bt"
        with running(self.bpftrace, self.script, path) as process:
            yield process


@dataclass(frozen=True)
class ProgramContender(Contender):
    """A program of its own."""

    command: tuple[str, ...]
    begun: str
    """What it says before it counts."""

    @contextmanager
    def running(self, folder: Path) -> Iterator[int]:
        """While it counts."""
        lines = folder / f"{self.name.replace(' ', '_')}.lines"
        with lines.open("wb") as stream:
            child = subprocess.Popen(
                self.command, stdout=stream, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )
        try:
            deadline = time.monotonic() + _START_SECONDS
            while self.begun not in lines.read_text(errors="replace"):
                if child.poll() is not None:
                    raise CannotRunError(lines.read_text(errors="replace"))
                assert time.monotonic() < deadline, lines.read_text(errors="replace")
                time.sleep(0.1)
            yield child.pid
        finally:
            end(child)


def choose_contenders(facts: KernelFacts, bpftrace: Bpftrace, built: Path) -> list[Contender]:
    """All that work on this kernel. ``built`` is the folder of :func:`build_by_hand`."""
    finds_btf = facts.bpftrace.finds_btf  # that is the kernel's part of it
    facts = replace(facts, bpftrace=replace(bpftrace.facts, finds_btf=finds_btf))
    found: list[Contender] = []
    plans = {way: plan for way in Way if (plan := make_traffic_plan(facts, way))}
    for hooks in dict.fromkeys(_HOOKS[way] for way in plans):
        suffix = f" ({hooks.name})"
        found += [
            ScriptContender(EMPTY + suffix, Script(hooks.empty, {}), bpftrace),
            ScriptContender(
                ONE_COUNTER + suffix, Script(hooks.one_counter([SERVER_NAME]), {}), bpftrace
            ),
        ]
    for way, plan in plans.items():
        found.append(ScriptContender(f"nfszbx ({way})", render_script(plan), bpftrace))
        if way is Way.KPROBE and Way.FUNCTION_EXIT in plans:
            continue  # by hand one would take the function's exit
        command = (str(built / "hand_written"), str(built / "hand_written.bpf.o"), way, str(PORT))
        found.append(ProgramContender(f"{HAND_WRITTEN} ({way})", command, BEGIN_MARK))
    if any(_HOOKS[way] is FUNCTIONS for way in plans):
        found += find_tcptops(built, seconds=_NO_DUMPS_SECONDS)
    return found


def build_by_hand(folder: Path) -> None:
    """The program in C, for any kernel with BTF; needs clang, gcc, libbpf, libelf and zlib."""
    here = Path(__file__).parent
    includes = "-I/usr/include/x86_64-linux-gnu"
    flags = ("-O2", "-Wall", "-Werror")
    for command in (
        ("clang", *flags, "-g", "-target", "bpf", includes, "-c", "-o", "hand_written.bpf.o"),
        ("gcc", *flags, "-static", "-o", "hand_written"),
    ):
        source = str(here / f"{command[-1].removesuffix('.o')}.c")
        libraries = () if "-c" in command else ("-lbpf", "-lelf", "-lz")
        subprocess.run([*command, source, *libraries], cwd=folder, check=True)


@dataclass(frozen=True)
class Hooks:
    """Where the simple scripts hang."""

    name: str
    empty: str
    received: tuple[str, str]
    """A probe, and how many bytes it tells."""
    sent: tuple[str, str]

    def one_counter(self, task_names: Sequence[str]) -> str:
        """As articles have it: the task's name, one number for each direction, no client."""
        test = " || ".join(f'comm == "{name}"' for name in task_names)
        received, received_bytes = self.received
        sent, sent_bytes = self.sent
        return f"""\
{_BEGIN}
{received} /{test}/ {{ @received = @received + {received_bytes}; }}
{sent} /{test}/ {{ @sent = @sent + {sent_bytes}; }}
"""


TRACEPOINTS = Hooks(
    "tracepoints",
    empty=f"""\
{_BEGIN}
tracepoint:sock:sock_recv_length, tracepoint:sock:sock_send_length {{ $x = 1; }}
""",
    received=("tracepoint:sock:sock_recv_length", "args->ret"),
    sent=("tracepoint:sock:sock_send_length", "args->ret"),
)
FUNCTIONS = Hooks(
    "kprobes",
    empty=f"{_BEGIN}kprobe:tcp_cleanup_rbuf, kprobe:tcp_sendmsg {{ $x = 1; }}\n",
    received=("kprobe:tcp_cleanup_rbuf", "(uint16)arg1"),
    sent=("kprobe:tcp_sendmsg", "arg2"),
)
_HOOKS = {
    Way.FUNCTION_EXIT: FUNCTIONS,
    Way.KPROBE: FUNCTIONS,
    Way.TRACEPOINT: TRACEPOINTS,
}


def make_traffic_plan(facts: KernelFacts, way: Way) -> Plan | None:
    """Counts the server of :mod:`benchmarks.loopback`; None where the way does not."""
    services = {"smbd": {"ports": [PORT]}, "ksmbd": {"enabled": False}, "nfsd": {"enabled": False}}
    settings = {"interval_seconds": _NO_DUMPS_SECONDS, "way": way, "services": services}
    plan = make_plan(facts, Config.model_validate(settings))
    return plan if len(plan.measured_directions) == len(Direction) else None


def find_tcptops(built: Path, *, seconds: int) -> Iterator[ProgramContender]:
    """That of bcc, which Debian gives another name, and that of libbpf-tools, if it was brought.

    Each prints after so many ``seconds``.
    """
    if bcc := shutil.which("tcptop-bpfcc"):
        yield ProgramContender("tcptop of bcc", ("stdbuf", "-oL", bcc, str(seconds)), "Tracing")
    libbpf = built / TCPTOP.name
    if libbpf.exists():
        yield ProgramContender("tcptop of libbpf-tools", (str(libbpf), "-C", str(seconds)), "")

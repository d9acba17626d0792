"""Finds the bpftrace program and asks it for its version and for what the kernel lets it do."""

import os
import re
import shutil
import subprocess

from nfszbx.kernel.facts import PRESENT, BpftraceFacts, Fact, absent, unknown

_TIMEOUT_SECONDS = 30  # ``--info`` loads a dozen test programs; on emulated machines that is slow


def read_bpftrace(path: str | None) -> BpftraceFacts:
    """The bpftrace at ``path``, or else the first one on PATH."""
    found = path if path is not None else shutil.which("bpftrace", path=_search_path())
    if found is None:
        return BpftraceFacts(absent("bpftrace is not installed"))
    answer = _ask(found, "--version")
    if isinstance(answer, Fact):
        return BpftraceFacts(answer, found)
    match = re.search(r"v(\d+)\.(\d+)(?:\.(\d+))?", answer)
    if match is None:
        first = answer.strip().partition("\n")[0]
        return BpftraceFacts(absent(f"{found} is not bpftrace: it says '{first:.80}'"), found)
    return BpftraceFacts(PRESENT, found, (int(match[1]), int(match[2]), int(match[3] or 0)))


def read_info(bpftrace: BpftraceFacts, privilege: Fact) -> str | Fact:
    """What ``bpftrace --info`` says of the kernel, or why it says nothing; it needs root."""
    if not bpftrace.program.is_present:
        return unknown(bpftrace.program.reason)
    if not privilege.is_present:
        return unknown(f"bpftrace --info: {privilege.reason}")
    return _ask(bpftrace.path, "--info")


def read_function_exit(bpftrace: BpftraceFacts, info: str | Fact) -> Fact:
    """Can BPF trampolines (kfunc/kretfunc, since 0.20 called fentry/fexit) be attached?

    ``bpftrace --info`` loads and attaches such a program. Late versions (0.27) do not tell any
    more, so there a probe is attached for a moment; ``--dry-run`` is there since 0.22.
    """
    if isinstance(info, Fact):
        return info
    match = re.search(r"\b(?:kfunc|fentry): (yes|no)\b", info)
    if match is None:
        trial = _ask(bpftrace.path, "--dry-run", "-e", "fexit:tcp_cleanup_rbuf { @ = count(); }")
        return trial if isinstance(trial, Fact) else PRESENT
    if match[1] == "yes":
        return PRESENT
    return absent("this kernel does not let BPF programs be attached to functions (fentry/fexit)")


def finds_btf(info: str | Fact) -> bool:
    """Does bpftrace find the kernel's BTF by itself?

    0.17 does not where the modules have none (before v5.11): it says ``btf: no``.
    """
    return isinstance(info, Fact) or not re.search(r"^\s*btf: no$", info, re.MULTILINE)


def _search_path() -> str:
    """PATH, and the directories of system programs that a user's PATH may lack."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/bin"])


def _ask(program: str, *options: str) -> str | Fact:
    try:
        result = subprocess.run(  # noqa: S603  a fixed option; the path is root's own setting
            [program, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_TIMEOUT_SECONDS,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        return absent(f"{program} cannot be run: {error.strerror}")
    except subprocess.TimeoutExpired:
        return unknown(f"{program} {options[0]} gave no answer within {_TIMEOUT_SECONDS} s")
    if result.returncode != 0:
        return absent(f"{program} {options[0]} ended with status {result.returncode}")
    return result.stdout

"""What a user gets wrong, or a machine lacks: a message, a hint, an exit code, no traceback."""

import os
import socket
import subprocess
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

from nfszbx.config import Config
from nfszbx.kernel.read import read_facts
from nfszbx.plan import make_plan
from tests.live.running import NFSZBX
from tests.network import free_port
from tests.processes import write_program

# Not root, but able to read the checkout wherever it is.
NOBODY = (
    "setpriv",
    "--reuid=65534",
    "--clear-groups",
    "--inh-caps=+dac_read_search",
    "--ambient-caps=+dac_read_search",
)


def run(
    *words: str, environment: dict[str, str] | None = None, before: tuple[str, ...] = ()
) -> tuple[int, str]:
    """Exit status and standard error of a command; ``before`` is put in front of it."""
    result = subprocess.run(
        [*before, *NFSZBX, *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    assert "Traceback" not in result.stderr
    return result.returncode, result.stderr


def after_mounting(mounts: str) -> tuple[str, ...]:
    """Runs a command in a mount namespace of its own, after these mounts."""
    return ("unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh")


def test_not_root() -> None:
    status, said = run("run", before=NOBODY)
    assert status == 3
    assert said.startswith("nfszbx: root is needed to load BPF programs\nhint: run it as root")
    status, _ = run("script", before=NOBODY)
    assert status == 3


def test_root_without_capabilities() -> None:
    status, said = run("run", before=("setpriv", "--bounding-set=-all", "--inh-caps=-all"))
    assert status == 3
    assert "root lacks the capability CAP_SYS_ADMIN" in said


def test_root_that_cannot_become_another_user() -> None:
    """What talks to the network is never root."""
    status, said = run("run", before=("setpriv", "--bounding-set=-setuid", "--inh-caps=-all"))
    assert status == 3
    assert "root's rights cannot be given up" in said
    assert "hint: nfszbx run needs CAP_SETUID and CAP_SETGID" in said


def test_no_bpftrace() -> None:
    status, said = run("run", environment={"NFSZBX_BPFTRACE": "/nowhere/bpftrace"})
    assert status == 4
    assert "/nowhere/bpftrace cannot be run: No such file" in said
    assert "hint: mend the setting bpftrace" in said
    # And where none is named, with one that does not even tell its version.
    before = after_mounting("mount --bind /bin/false /usr/bin/bpftrace")
    status, said = run("run", before=before)
    assert status == 4
    assert "/usr/bin/bpftrace --version ended with status 1" in said
    assert "hint: apt-get install bpftrace" in said


def test_bpftrace_that_never_works(tmp_path: Path) -> None:
    """Not restarted for ever: five starts, then its own words and an exit code."""
    broken = write_program(
        tmp_path / "bpftrace",
        'if [ "$1" = --version ]; then echo bpftrace v0.17.0; exit; fi\n'
        "echo ERROR: no such luck >&2; exit 3",
    )
    status, said = run("run", environment={"NFSZBX_BPFTRACE": broken})
    assert status == 4
    assert "failed 5 times without a single dump: exit status 3: ERROR: no such luck" in said
    assert "hint: nfszbx script prints" in said


def test_bpftrace_too_old(tmp_path: Path) -> None:
    old = write_program(tmp_path / "bpftrace", "echo bpftrace v0.14.0")
    status, said = run("run", environment={"NFSZBX_BPFTRACE": old})
    assert status == 4
    assert f"{old} is version 0.14.0, too old: 0.17.0 is the oldest that works" in said


def test_tracefs_not_mounted() -> None:
    """In a mount namespace of its own, where it is covered by an empty file system."""
    before = after_mounting(
        "mount -t tmpfs none /sys/kernel/tracing && mount -t tmpfs none /sys/kernel/debug"
    )
    status, said = run("run", before=before)
    assert status == 5
    assert "tracefs is not mounted" in said
    assert "hint: mount -t tracefs tracefs /sys/kernel/tracing" in said
    status, _ = run("check", before=before)
    assert status == 5


def test_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        status, said = run("run", "--sink", "prometheus", "--prometheus-port", port)
    assert status == 6
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in said
    assert "hint: choose another with --prometheus-port" in said


def test_way_that_this_kernel_does_not_have() -> None:
    """Forced to one that cannot be: the same answer from run, script and check."""
    plan = make_plan(read_facts(), Config())
    missing = [c.way for c in plan.choices[0].candidates if c.available.is_absent]
    for way in missing:
        for command in ("run", "script"):
            status, said = run(command, "--way", way)
            assert status == 5
            assert f"the way {way} is not possible: " in said
            assert "hint: set way to auto" in said
        assert run("check", "--way", way)[0] == 5


def test_unknown_sink() -> None:
    status, said = run("run", "--sink", "kafka")
    assert status == 2
    assert "sinks[0] (--sink): should be 'console', 'prometheus' or 'zabbix', got 'kafka'" in said


def test_errors_of_every_source_at_once(tmp_path: Path) -> None:
    path = tmp_path / "nfszbx.toml"
    path.write_text(
        "interval_seconds = 0\nmax_client = 5\n[services.smbd]\ntask_names = ['\" exit()']\n"
    )
    status, said = run(
        "run", "--config", str(path), environment={"NFSZBX_ZABBIX__SERVERS": "a b; rm"}
    )
    assert status == 2
    assert said.startswith("nfszbx: 4 settings are wrong:\n")
    for key in (
        "interval_seconds",
        "max_client",
        "services.smbd.task_names[0]",
        "zabbix.servers[0]",
    ):
        assert f"\n  {key} (" in said
    assert "did you mean max_clients?" in said
    assert "hint: docs/configuration.md" in said


@pytest.mark.parametrize("command", ["check", "script", "facts"])
def test_full_disk(command: str) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123  a device
        result = subprocess.run(
            [*NFSZBX, command],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        )
    assert result.returncode == 1
    assert result.stderr == "nfszbx: cannot write to standard output: No space left on device\n"


@pytest.mark.parametrize("closed", ["<&-", "2>&-", ">&-"])
def test_closed_standard_streams(closed: str) -> None:
    """As a careless supervisor starts it: it measures all the same."""
    port = free_port()
    flags = ["--sink", "prometheus", "--prometheus-port", str(port), "--interval-seconds", "1"]
    process = subprocess.Popen(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *NFSZBX, "run", *flags],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 30
        page = ""
        while "nfszbx_child_up 1.0" not in page:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.2)
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
                page = answer.read().decode()
    finally:
        process.terminate()
        assert process.wait(30) == 0


@pytest.mark.parametrize("content", [None, "{}", "nonsense"])
def test_facts_file_that_is_none(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    if content:
        path.write_text(content)
    status, said = run("script", "--facts", str(path))
    assert status == 2
    assert str(path) in said
    assert "hint: make one with: nfszbx facts > FILE" in said

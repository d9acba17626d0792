"""What is said of wrong words on the command line: as of all else that is wrong."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main

from nfszbx.cli import app, main
from nfszbx.errors import KernelError
from nfszbx.options import make_nfs_flag
from nfszbx.settings import Flag
from tests.network import free_port


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, str, str]:
    """Exit status, standard output and standard error."""
    monkeypatch.setattr(sys, "argv", ["/usr/bin/nfszbx", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


@pytest.mark.parametrize(
    ("words", "message", "command"),
    [
        (["fly"], "No such command 'fly'", "nfszbx"),
        (["zabbix", "fly"], "No such command 'fly'", "nfszbx zabbix"),
        (["run", "--nonsense"], "No such option: --nonsense", "nfszbx run"),
        (["check", "word"], "Got unexpected extra argument", "nfszbx check"),
        (["run", "--max-clients"], "Option '--max-clients' requires an argument", "nfszbx"),
        (["run", "--max-clients", "x"], "Invalid value for '--max-clients': ", "nfszbx run"),
    ],
)
def test_wrong_words(
    words: list[str],
    message: str,
    command: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, output, said = run(monkeypatch, capsys, *words)
    first, *others = said.splitlines()
    assert first.startswith(f"nfszbx: {message}")
    assert others == [f"hint: {command} --help tells what there is"]
    assert (status, output) == (2, "")


def test_wrong_setting_is_told_alike(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, said = run(monkeypatch, capsys, "facts", "--config", "/no/such/file")
    assert said.startswith("nfszbx: ")
    assert "\nhint: " in said
    assert status == 2


@pytest.mark.parametrize("command", ["run", "check", "script"])
def test_wrong_label_of_operations_is_named_like_any_setting(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--config", "/dev/null", "--nfs-labels", "client, exprt"]
    status, _, said = run(monkeypatch, capsys, command, *flags)
    assert status == 2
    assert (
        "operations.labels[1] (--nfs-labels): "
        "should be 'client', 'export', 'operation' or 'user', got 'exprt'"
    ) in said


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("client,export", ("client", "export")),
        ("operation", ("operation",)),
        ("", ()),
        (None, None),
    ],
)
def test_labels_of_operations(text: str | None, labels: tuple[str, ...] | None) -> None:
    assert make_nfs_flag(text) == Flag("--nfs-labels", ("operations", "labels"), labels)


@pytest.mark.parametrize(
    ("words", "status"), [([], 2), (["--help"], 0), (["zabbix"], 2), (["run", "--help"], 0)]
)
def test_help(
    words: list[str],
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found, output, said = run(monkeypatch, capsys, *words)
    assert (found, said) == (status, "")
    assert " ".join(["Usage: nfszbx", *words]).removesuffix(" --help") in output


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    status, output, said = run(monkeypatch, capsys, "--version")
    assert (status, output.startswith("nfszbx "), said) == (0, True, "")


def test_status_of_a_command_is_that_of_the_program(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``zabbix check`` ends by it, not by an error: no server is at the port of the flag."""
    port = free_port()
    flags = ["--zabbix-server", "127.0.0.1", "--zabbix-port", str(port), "--config", "/dev/null"]
    status, output, said = run(monkeypatch, capsys, "zabbix", "check", *flags)
    assert (status, said) == (7, "")
    assert f"PROBLEM  zabbix 127.0.0.1:{port}" in output


@pytest.mark.parametrize("command", ["install", "check"])
def test_zabbix_commands_reach_the_servers_by_the_same_flags_as_a_run(command: str) -> None:
    """Otherwise they would set up, or judge, something else than what is going to run."""
    every: Any = typer.main.get_command(app)
    run, other = every.commands["run"], every.commands["zabbix"].commands[command]
    wanted = {flag for option in run.params for flag in option.opts if flag.startswith("--zabbix-")}
    assert len(wanted) == 4
    assert wanted <= {flag for option in other.params for flag in option.opts}


def facts_flags(name: str) -> list[str]:
    path = Path(__file__).parents[1] / "fixtures" / "facts" / f"{name}.json"
    return ["--config", "/dev/null", "--facts", str(path)]


def test_check_tells_what_is_told_of_operations(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A kernel that cannot prove all that it is taken for is no reason to fail."""
    flags = facts_flags("debian-unstable-7.2")
    status, said, _ = run(monkeypatch, capsys, "check", *flags, "--strict")
    assert status == 0
    assert (
        "NFS operations: by version, client, export, operation; every 60 s\n"
        "  also how long requests take and how long they wait for a thread\n"
        "  but not:\n"
        "  a part of the NFS operations: on a preemptible kernel "
    ) in said
    _, said, _ = run(monkeypatch, capsys, "check", *flags, "--json")
    assert json.loads(said)["operations"]["has_latency"]
    _, said, _ = run(monkeypatch, capsys, "check", *facts_flags("no-kprobes-6.18"))
    assert "NFS operations: not counted now: nfsd does not run (start it: " in said


def test_script_of_operations(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["script", "--operations"]
    status, said, _ = run(monkeypatch, capsys, *words, *facts_flags("debian13-6.12"))
    assert status == 0
    assert "nfsd_compound_status" in said
    status, _, said = run(monkeypatch, capsys, *words, *facts_flags("no-kprobes-6.18"))
    assert status == KernelError.exit_code
    assert "NFS operations are not counted: nfsd does not run\nhint: start it" in said

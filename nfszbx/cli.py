"""The command ``nfszbx``: turns errors into messages, hints and exit codes; no logic of its own."""

import logging
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from nfszbx import __version__
from nfszbx.config import Config
from nfszbx.daemon import Daemon
from nfszbx.errors import ConfigurationError, KernelError, NfszbxError, PrivilegeError
from nfszbx.kernel.facts import KernelFacts, facts_from_json, facts_to_json
from nfszbx.kernel.read import read_facts
from nfszbx.log import start_logging
from nfszbx.operations.plan import make_operations_plan
from nfszbx.operations.script import render_operations_script
from nfszbx.options import (
    ConfigOption,
    NfsLabelsOption,
    ZabbixAgentConfigOption,
    ZabbixHostOption,
    ZabbixPortOption,
    ZabbixServerOption,
    make_nfs_flag,
    make_zabbix_flags,
)
from nfszbx.plan import make_plan
from nfszbx.privileges import find_account
from nfszbx.report import find_idle_services, render_json, render_text
from nfszbx.script import render_script
from nfszbx.settings import Flag, load_config
from nfszbx.sinks.folder import prepare_folder
from nfszbx.state import StateDirectory
from nfszbx.streams import open_standard_streams, redirect_to_nowhere
from nfszbx.watch import log_omissions
from nfszbx.zabbix import commands as zabbix_commands

_UsageError: Any = typer.BadParameter.__bases__[0]
"""Click's. Typer has Click inside or beside itself, by version, so it is not to be imported."""

_log = logging.getLogger(__name__)

app = typer.Typer(
    help="Tells who moves how much through a Linux file server.",
    epilog="Exit codes: 0 done; 1 unexpected failure; 2 wrong setting, flag or file; 3 not root; "
    "4 bpftrace missing or too old; 5 this kernel, as it is set up, cannot be measured; "
    "6 a sink cannot start; 7 Zabbix refuses, or is not set up to show anything.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(zabbix_commands.app, name="zabbix")

WayOption = Annotated[str | None, typer.Option(help="auto, function_exit, kprobe or tracepoint.")]
IntervalOption = Annotated[int | None, typer.Option(help="Seconds between two values.")]
FactsOption = Annotated[
    Path | None, typer.Option("--facts", help="Facts of another machine, from 'nfszbx facts'.")
]


@app.command()
def run(
    config: ConfigOption = None,
    sink: Annotated[
        list[str] | None, typer.Option(help="console, prometheus or zabbix; repeat for several.")
    ] = None,
    interval_seconds: IntervalOption = None,
    max_clients: Annotated[
        int | None, typer.Option(help="Clients with a row of their own; the rest is 'other'.")
    ] = None,
    way: WayOption = None,
    nfs_labels: NfsLabelsOption = None,
    prometheus_address: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    prometheus_port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    zabbix_server: ZabbixServerOption = None,
    zabbix_port: ZabbixPortOption = None,
    zabbix_host: ZabbixHostOption = None,
    zabbix_agent_config: ZabbixAgentConfigOption = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Do not start when anything is left out.")
    ] = False,
    lock: Annotated[
        bool, typer.Option("--lock", help="End at once, and well, when another one runs: for cron.")
    ] = False,
) -> None:
    """Measure until stopped, and give every interval to the sinks."""
    flags = (
        Flag("--sink", ("sinks",), tuple(sink) if sink else None),
        Flag("--interval-seconds", ("interval_seconds",), interval_seconds),
        Flag("--max-clients", ("max_clients",), max_clients),
        Flag("--way", ("way",), way),
        make_nfs_flag(nfs_labels),
        Flag("--prometheus-address", ("prometheus", "address"), prometheus_address),
        Flag("--prometheus-port", ("prometheus", "port"), prometheus_port),
        *make_zabbix_flags(zabbix_server, zabbix_port, zabbix_host, zabbix_agent_config),
    )
    settings = _load(config, *flags)
    start_logging(settings.log_level)
    os.umask(0o077)  # others may pass through the state directory, and read nothing there
    state = StateDirectory(Path(settings.state_directory))
    if lock and not state.is_ours():
        raise typer.Exit
    facts = read_facts(settings.bpftrace)
    plan = make_plan(facts, settings)
    if plan.obstacles:
        raise plan.obstacles[0].as_error()
    if strict and plan.omissions:
        left_out = "; ".join(f"{omission.what}: {omission.reason}" for omission in plan.omissions)
        raise KernelError(f"not everything can be measured: {left_out}", "run without --strict")
    log_omissions(plan)
    idle = find_idle_services(facts, plan)
    daemon = Daemon(settings, facts, plan, state, lambda: _load(config, *flags))
    if len(idle) == len(plan.services):
        ports = sorted({port for service in idle for port in service.ports})
        _log.info("no file server listens on port %s yet; watching", ", ".join(map(str, ports)))
    daemon.run()


@app.command()
def prepare(config: ConfigOption = None) -> None:
    """Make the state directory, with the folder of the user that talks to the network.

    For a service: run does the same, as far as it has the rights.
    """
    settings = _load(config)
    start_logging(settings.log_level)
    account = find_account()
    if account is None:
        raise PrivilegeError("root is needed to give folders to others", "run it as root")
    os.umask(0o077)
    state = StateDirectory(Path(settings.state_directory))
    if not state.is_in_use:
        prepare_folder(state.path, account)


@app.command()
def check(
    config: ConfigOption = None,
    way: WayOption = None,
    nfs_labels: NfsLabelsOption = None,
    facts: FactsOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Plan and facts, for machines.")] = False,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Fail also when a part of the traffic is missing."),
    ] = False,
) -> None:
    """Print what can be measured here, how exactly, and what is missing with what mends it."""
    settings = _load(config, Flag("--way", ("way",), way), make_nfs_flag(nfs_labels))
    machine = _get_facts(facts, settings)
    plan = make_plan(machine, settings)
    operations = make_operations_plan(machine, settings)
    render = render_json if as_json else render_text
    typer.echo(render(machine, plan, operations), nl=False)
    if plan.obstacles:
        raise typer.Exit(plan.obstacles[0].as_error().exit_code)
    if strict and plan.omissions:
        raise typer.Exit(KernelError.exit_code)


@app.command()
def script(
    config: ConfigOption = None,
    way: WayOption = None,
    interval_seconds: IntervalOption = None,
    nfs_labels: NfsLabelsOption = None,
    facts: FactsOption = None,
    operations: Annotated[
        bool, typer.Option("--operations", help="The one that counts NFS operations.")
    ] = False,
) -> None:
    """Print the bpftrace script that would run, to be read before it runs as root."""
    settings = _load(
        config,
        Flag("--way", ("way",), way),
        Flag("--interval-seconds", ("interval_seconds",), interval_seconds),
        make_nfs_flag(nfs_labels),
    )
    machine = _get_facts(facts, settings)
    plan = make_plan(machine, settings)
    if plan.obstacles:  # without root, for one, too little is known to tell what would run
        raise plan.obstacles[0].as_error()
    typer.echo(
        _render_operations(machine, settings) if operations else render_script(plan).text, nl=False
    )


def _render_operations(machine: KernelFacts, settings: Config) -> str:
    plan = make_operations_plan(machine, settings)
    if not plan.hooks:
        omission = plan.omissions[0]
        raise KernelError(f"NFS operations are not counted: {omission.reason}", omission.remedy)
    return render_operations_script(plan).text


@app.command("facts")
def print_facts(config: ConfigOption = None) -> None:
    """Print what this machine offers, as JSON for --facts on another one."""
    typer.echo(facts_to_json(read_facts(_load(config).bpftrace)), nl=False)


def _print_version(asked: bool) -> None:  # noqa: FBT001  the signature that Typer calls
    if asked:
        typer.echo(f"nfszbx {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Tells who moves how much through a Linux file server."""


def _load(config: Path | None, *flags: Flag) -> Config:
    return load_config(config, os.environ, flags)


def _get_facts(path: Path | None, settings: Config) -> KernelFacts:
    """The facts of a file, or else of this machine."""
    if path is None:
        return read_facts(settings.bpftrace)
    try:
        return facts_from_json(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"cannot read the facts file {path}: {error}", "make one with: nfszbx facts > FILE"
        ) from None


def _tell(message: str, hint: str) -> None:
    sys.stderr.write(f"nfszbx: {message}\n")
    if hint:
        sys.stderr.write(f"hint: {hint}\n")


def main() -> None:
    """Run the command and exit with its code."""
    open_standard_streams()
    try:
        sys.exit(app(prog_name="nfszbx", standalone_mode=False))
    except NfszbxError as error:
        _tell(str(error), error.hint)
        sys.exit(error.exit_code)
    except _UsageError as error:
        if message := error.format_message():  # without any word, help has been printed instead
            command = error.ctx.command_path if error.ctx else "nfszbx"
            _tell(message.rstrip("."), f"{command} --help tells what there is")
        sys.exit(ConfigurationError.exit_code)
    except typer.Abort:  # what an older Typer makes of an interrupt; others exit themselves
        sys.exit(128 + signal.SIGINT)
    except OSError as error:  # of standard output, or of an incomplete installation
        what = (
            f"cannot read {error.filename}" if error.filename else "cannot write to standard output"
        )
        sys.stderr.write(f"nfszbx: {what}: {error.strerror}\n")
        redirect_to_nowhere(sys.stdout)
        sys.exit(NfszbxError.exit_code)

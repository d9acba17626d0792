"""The commands ``nfszbx zabbix ...``.

They import what they need when they run: it takes megabytes, which ``nfszbx run`` does without.
"""

import os
from pathlib import Path
from typing import Annotated

import typer

from nfszbx.config import ZabbixConfig
from nfszbx.errors import ConfigurationError, ZabbixError
from nfszbx.options import (
    ConfigOption,
    ZabbixAgentConfigOption,
    ZabbixHostOption,
    ZabbixPortOption,
    ZabbixServerOption,
    make_zabbix_flags,
)
from nfszbx.settings import Flag, load_config
from nfszbx.template.parts import Version

app = typer.Typer(
    help="Sets Zabbix up for nfszbx, and finds out why it shows nothing.", no_args_is_help=True
)

UrlOption = Annotated[
    str | None, typer.Option("--url", help="Of the Zabbix frontend, as in a browser.")
]
TokenFileOption = Annotated[
    str | None,
    typer.Option(
        help="Has an API token in its first line. NFSZBX_ZABBIX__API__TOKEN has it itself."
    ),
]


@app.command()
def template(
    version: Annotated[
        str, typer.Option("--version", help="Of the Zabbix server: 6.0, 7.0 or later.")
    ] = Version.V7_0.value,
) -> None:
    """Print the template, to be imported in Zabbix under Data collection, Templates.

    Zabbix 6.0 has it under Configuration, Templates.
    """
    from nfszbx.template.assemble import render_template  # noqa: PLC0415  see above

    found = [known for known in Version if _parse(known.value) <= _parse(version)]
    if not found:
        raise ConfigurationError(
            f"--version: there is no template for Zabbix {version}", "6.0 is the oldest that works"
        )
    typer.echo(render_template(max(found)), nl=False)


@app.command()
def install(
    config: ConfigOption = None,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    zabbix_server: ZabbixServerOption = None,
    zabbix_port: ZabbixPortOption = None,
    zabbix_host: ZabbixHostOption = None,
    zabbix_agent_config: ZabbixAgentConfigOption = None,
    group: Annotated[str, typer.Option(help="Host group of a new host.")] = "Linux servers",
) -> None:
    """Import the template, make or link the host, and send a test value."""
    from nfszbx.zabbix.install import install as install_all  # noqa: PLC0415  see above

    flags = make_zabbix_flags(zabbix_server, zabbix_port, zabbix_host, zabbix_agent_config)
    settings = _load(config, url, token_file, flags)
    install_all(settings, group, typer.echo)


@app.command()
def check(
    config: ConfigOption = None,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    zabbix_server: ZabbixServerOption = None,
    zabbix_port: ZabbixPortOption = None,
    zabbix_host: ZabbixHostOption = None,
    zabbix_agent_config: ZabbixAgentConfigOption = None,
) -> None:
    """Find out why Zabbix shows nothing, and say what to change."""
    from nfszbx.zabbix.check import check_zabbix  # noqa: PLC0415  see above

    flags = make_zabbix_flags(zabbix_server, zabbix_port, zabbix_host, zabbix_agent_config)
    settings = _load(config, url, token_file, flags)
    problems = 0
    for finding in check_zabbix(settings):
        problems += bool(finding.hint)
        typer.echo(f"{'PROBLEM' if finding.hint else 'ok'}  {finding.text}")
        if finding.hint:
            typer.echo(f"         {finding.hint}")
    if not settings.api.url:
        typer.echo(
            "With zabbix.api.url and an API token, host, items and stored values are checked, too."
        )
    if problems:
        raise typer.Exit(ZabbixError.exit_code)


def _load(
    config: Path | None, url: str | None, token_file: str | None, flags: tuple[Flag, ...]
) -> ZabbixConfig:
    api_flags = (
        Flag("--url", ("zabbix", "api", "url"), url),
        Flag("--token-file", ("zabbix", "api", "token_file"), token_file),
    )
    return load_config(config, os.environ, (*api_flags, *flags)).zabbix


def _parse(version: str) -> tuple[int, ...]:
    """``7`` is 7.0."""
    try:
        first, second, *_ = map(int, f"{version}.0".split("."))
    except ValueError:
        raise ConfigurationError(
            f"--version: should be like 7.0, got '{version:.20}'", "the version of the server"
        ) from None
    return first, second

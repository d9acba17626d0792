"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

from nfszbx.settings import Flag

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="TOML file; default /etc/nfszbx/nfszbx.toml.")
]
NfsLabelsOption = Annotated[
    str | None,
    typer.Option(
        "--nfs-labels",
        help="What NFS operations are told apart by: client, export, operation, user; with commas.",
    ),
]
ZabbixServerOption = Annotated[
    list[str] | None, typer.Option("--zabbix-server", help="Name or address; repeat for several.")
]
ZabbixPortOption = Annotated[
    int | None, typer.Option("--zabbix-port", help="Trapper port of the servers.")
]
ZabbixHostOption = Annotated[
    str | None,
    typer.Option("--zabbix-host", help="This machine's name in Zabbix; default: its host name."),
]
ZabbixAgentConfigOption = Annotated[
    str | None,
    typer.Option(
        "--zabbix-agent-config", help="Take servers, name and TLS from a Zabbix agent's file."
    ),
]


def make_nfs_flag(labels: str | None) -> Flag:
    """The setting that the option stands for; an empty text means no labels."""
    words = None if labels is None else tuple(word.strip() for word in labels.split(",") if word)
    return Flag("--nfs-labels", ("operations", "labels"), words)


def make_zabbix_flags(
    servers: list[str] | None, port: int | None, host: str | None, agent_config: str | None
) -> tuple[Flag, ...]:
    """The settings that these options stand for."""
    return (
        Flag("--zabbix-server", ("zabbix", "servers"), tuple(servers) if servers else None),
        Flag("--zabbix-port", ("zabbix", "port"), port),
        Flag("--zabbix-host", ("zabbix", "host"), host),
        Flag("--zabbix-agent-config", ("zabbix", "agent_config"), agent_config),
    )

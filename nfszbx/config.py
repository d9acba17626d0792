"""What the user may set: types, defaults and bounds. ``settings.py`` reads the sources.

Every value that reaches the generated script, which runs as root, is a number within bounds or
matches a pattern that leaves no room for bpftrace code.
"""

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from ipaddress import ip_address
from itertools import combinations
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
)

from nfszbx.nodes import parse_node
from nfszbx.traffic import Service

CLIENT_IDLE_SECONDS = 86_400
"""A day: whoever works daily keeps the row."""


class Way(StrEnum):
    """A way to count; the order is the order of preference among equally exact ones."""

    FUNCTION_EXIT = "function_exit"
    KPROBE = "kprobe"
    TRACEPOINT = "tracepoint"


def _matching(pattern: str, meaning: str) -> AfterValidator:
    """A check that a text matches in full; the error says in words what would be right."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"should be {meaning}")
        return text

    return AfterValidator(check)


def _check_address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise ValueError("should be an IPv4 or IPv6 address, like 127.0.0.1 or ::1") from None


def _check_servers(text: str) -> str:
    try:
        for node in text.split(";"):
            host, _ = parse_node(node.strip(), 1)
            if not re.fullmatch(r"[A-Za-z0-9_.-]{1,253}", host):
                ip_address(host)
    except ValueError:
        raise ValueError(
            "should be a DNS name or an IP address, with a port or without, as in "
            "zabbix.example.org, 192.0.2.7:10051 or [2001:db8::1]:10051, the port from 1 to 65535; "
            "a semicolon stands between HA nodes"
        ) from None
    return text


def _split_servers(value: object) -> object:
    """A text as the Zabbix agent has it, with commas, is as good as a list."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


Port = Annotated[int, Field(strict=True, ge=1, le=65535)]
Switch = Annotated[bool, Field(strict=True)]
# Linux cuts task names to 15 characters (TASK_COMM_LEN - 1). No quote, backslash or space.
TaskName = Annotated[
    str,
    _matching(r"[A-Za-z0-9_.:/@+\[\]-]{1,15}", "1 to 15 of the characters A-Z a-z 0-9 _.:/@+[]-"),
]
IpAddress = Annotated[str, AfterValidator(_check_address)]
ZabbixHostName = Annotated[
    str, _matching(r"[A-Za-z0-9_. -]{1,128}", "1 to 128 letters, digits, blanks, dots, _ and -")
]
FilePath = Annotated[str, _matching(r"/[^\0\n]*", "an absolute path")]
ZabbixServers = Annotated[str, AfterValidator(_check_servers)]
ProgramPath = Annotated[str, _matching(r"/[!-~]+", "an absolute path without blanks")]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ServiceConfig(_Settings):
    """How the sockets of one service are recognised."""

    enabled: Switch = True
    ports: tuple[Port, ...] = ()
    """Local TCP ports of the service."""
    task_names: tuple[TaskName, ...] = ()
    """Beginnings of the names of its tasks: ``smbd`` also stands for ``smbd[10.0.0.7]``."""
    any_port: Switch = False
    """Also count sockets on ports of no service when the task's name matches."""


class NfsdConfig(ServiceConfig):
    """The kernel's NFS server."""

    ports: tuple[Port, ...] = (2049,)
    task_names: tuple[TaskName, ...] = ("nfsd",)


class SmbdConfig(ServiceConfig):
    """Samba's file server."""

    ports: tuple[Port, ...] = (445, 139)
    task_names: tuple[TaskName, ...] = ("smbd",)


class KsmbdConfig(ServiceConfig):
    """The kernel's SMB server. Its tasks are shared workers, so no task name stands for it."""

    ports: tuple[Port, ...] = (445, 139)


class ServicesConfig(_Settings):
    """The services, each in its table ``[services.NAME]``."""

    nfsd: NfsdConfig = NfsdConfig()
    smbd: SmbdConfig = SmbdConfig()
    ksmbd: KsmbdConfig = KsmbdConfig()

    def enabled(self) -> dict[Service, ServiceConfig]:
        """The services to count, in the order of :class:`Service`."""
        every: dict[Service, ServiceConfig] = {
            Service.NFSD: self.nfsd,
            Service.SMBD: self.smbd,
            Service.KSMBD: self.ksmbd,
        }
        return {service: config for service, config in every.items() if config.enabled}


class PrometheusConfig(_Settings):
    """Where the Prometheus endpoint listens."""

    address: IpAddress = "127.0.0.1"
    port: Port = 20490


class ZabbixTlsConfig(_Settings):
    """Encryption; the names are those of the Zabbix agent's settings."""

    connect: Literal["unencrypted", "psk", "cert"] = "unencrypted"
    psk_identity: str | None = None
    psk_file: FilePath | None = None
    ca_file: FilePath | None = None
    crl_file: FilePath | None = None
    cert_file: FilePath | None = None
    key_file: FilePath | None = None
    server_cert_issuer: str | None = None
    server_cert_subject: str | None = None


TLS_KEYS = {
    "psk": {"psk_identity": True, "psk_file": True},
    "cert": {
        "ca_file": True,
        "crl_file": False,
        "cert_file": True,
        "key_file": True,
        "server_cert_issuer": False,
        "server_cert_subject": False,
    },
}
"""The keys of each kind of encryption, and whether it needs them."""


class ZabbixApiConfig(_Settings):
    """The frontend's API, for ``nfszbx zabbix``; measuring does without it."""

    url: Annotated[
        str, _matching(r"https?://[!-?A-~]+", "a URL without a user: https://zabbix.example.org")
    ] = ""
    """Of the frontend, as in a browser."""
    token_file: FilePath | None = None
    """Has an API token of Zabbix in its first line."""
    token: SecretStr | None = None
    """The same by itself, for the environment: ``NFSZBX_ZABBIX__API__TOKEN``."""
    ca_file: FilePath | None = None
    """Authority of the frontend's certificate, if not one that this machine trusts."""


class ZabbixConfig(_Settings):
    """Where values are sent, and as which Zabbix host."""

    servers: Annotated[
        tuple[ZabbixServers, ...], BeforeValidator(_split_servers), Field(min_length=1)
    ] = ("127.0.0.1",)
    """Each gets every value: a server, its HA nodes with ; between them, or a proxy."""
    port: Port = 10051
    """Of the servers that are named without one."""
    host: ZabbixHostName | None = None
    """Name of the host in Zabbix; unset means this machine's host name."""
    agent_config: FilePath | None = None
    """A Zabbix agent's configuration: what is not set here is read there."""
    source_address: IpAddress | None = None
    timeout_seconds: Annotated[int, Field(strict=True, ge=1, le=300)] = 10
    clients_interval_seconds: Annotated[int, Field(strict=True, ge=1, le=3600)] = 60
    """Time between two values of a client, if longer than interval_seconds."""
    max_clients: Annotated[int, Field(strict=True, ge=1, le=10_000)] = 1000
    """Clients that Zabbix is shown; each takes memory of its server as long as it is known."""
    max_exports: Annotated[int, Field(strict=True, ge=1, le=10_000)] = 200
    """Exports that Zabbix is shown with their NFS operations."""
    client_retention_days: Annotated[int, Field(strict=True, ge=1, le=365)] = 7
    """How long an idle client is shown; an export and an operation as well."""
    tls: ZabbixTlsConfig = ZabbixTlsConfig()
    api: ZabbixApiConfig = ZabbixApiConfig()


class SpoolConfig(_Settings):
    """Where values wait until servers have them for certain."""

    max_bytes: Annotated[int, Field(strict=True, ge=1_000_000)] = 500_000_000
    max_age_hours: Annotated[int, Field(strict=True, ge=1, le=24 * 30)] = 24
    replay_seconds: Annotated[int, Field(strict=True, ge=0, le=86_400)] = 300
    """After a disconnect, what a server took in that time before is sent again."""


class OperationsConfig(_Settings):
    """What is told of NFS operations, in the table ``[operations]``."""

    enabled: Switch = True
    interval_seconds: Annotated[int, Field(strict=True, ge=1, le=3600)] = 60
    """Time between two dumps of operations, if longer than interval_seconds."""
    labels: tuple[Literal["client", "export", "operation", "user"], ...] = (
        "client",
        "export",
        "operation",
    )
    """What they are told apart by, beside the version of NFS; ``user`` is the UID."""
    latency_by_client: Switch = False
    max_rows: Annotated[int, Field(strict=True, ge=1, le=100_000)] = 1000
    """Combinations of client, export and user with rows of their own; the rest is ``other``."""
    map_max_entries: Annotated[int, Field(strict=True, ge=1024, le=1_048_576)] = 131_072
    """Size that each BPF map may grow to; a client takes one entry per export and kind of request.

    An entry takes some 0.7 kB and 40 bytes per processor of the kernel's memory, in all maps
    together. They begin with 32,768, and have twice as many whenever they are nearly full.
    """


class SmbConfig(_Settings):
    """What is told of those who are connected to smbd, in the table ``[smb]``.

    All off: who works where is the users' own business, and shares made by ``[homes]`` have the
    names of users.
    """

    sessions: Switch = False
    """By client and user."""
    shares: Switch = False
    """By client and share."""


class Config(_Settings):
    """Everything that can be set."""

    interval_seconds: Annotated[int, Field(strict=True, ge=1, le=3600)] = 10
    """Time between two dumps, and so between two values in a sink."""
    max_clients: Annotated[int, Field(strict=True, ge=1, le=100_000)] = 500
    """Clients with rows of their own; all others share the row ``other``."""
    client_idle_seconds: Annotated[int, Field(strict=True, ge=60, le=31_536_000)] = (
        CLIENT_IDLE_SECONDS
    )
    """A client without traffic for longer loses its row, until it moves something again."""
    map_max_entries: Annotated[int, Field(strict=True, ge=1024, le=1_048_576)] = 8192
    """Size of each BPF map; a client takes one entry per service and direction."""
    way: Literal["auto", "function_exit", "kprobe", "tracepoint"] = "auto"
    """How to count: the best way that this kernel offers, or one forced."""
    bpftrace: ProgramPath | None = None
    """The bpftrace program; unset means the first one on ``PATH``."""
    audit_interval_seconds: Annotated[int, Field(strict=True, ge=0, le=86_400)] = 60
    """Time between two comparisons with the kernel's own counters per socket; 0 means never."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    sinks: tuple[Literal["console", "prometheus", "zabbix"], ...] = ("console",)
    state_directory: FilePath = "/var/lib/nfszbx"
    """What outlasts a run: counters, and values that servers do not have for certain yet."""
    services: ServicesConfig = ServicesConfig()
    prometheus: PrometheusConfig = PrometheusConfig()
    zabbix: ZabbixConfig = ZabbixConfig()
    spool: SpoolConfig = SpoolConfig()
    operations: OperationsConfig = OperationsConfig()
    smb: SmbConfig = SmbConfig()


def find_conflicts(config: Config) -> list[tuple[str, str]]:
    """Settings that are right by themselves and impossible together, as (key, problem)."""
    enabled = config.services.enabled()
    conflicts = [
        conflict
        for service, settings in enabled.items()
        for conflict in _find_service_conflicts(service, settings)
    ]
    conflicts += _find_port_conflicts(enabled)
    if not enabled:
        conflicts.append(("services", "every service is disabled; enable at least one"))
    conflicts += _find_tls_conflicts(config.zabbix.tls)
    if not config.sinks:
        conflicts.append(("sinks", "no sink is named; choose console, prometheus or zabbix"))
    return conflicts


def _find_tls_conflicts(tls: ZabbixTlsConfig) -> Iterator[tuple[str, str]]:
    for kind, keys in TLS_KEYS.items():
        for key, is_needed in keys.items():
            if kind != tls.connect and getattr(tls, key):
                yield f"zabbix.tls.{key}", f"has no effect without connect = '{kind}'"
            elif kind == tls.connect and is_needed and not getattr(tls, key):
                yield f"zabbix.tls.{key}", f"connect = '{kind}' needs it"


def _find_service_conflicts(service: Service, settings: ServiceConfig) -> Iterator[tuple[str, str]]:
    key = f"services.{service}"
    if not settings.ports and not settings.any_port:
        yield f"{key}.ports", "no port is left; name at least one"
    if settings.task_names and service is Service.KSMBD:
        yield f"{key}.task_names", "ksmbd works in shared kernel workers without a name of its own"
    if settings.any_port and service is Service.KSMBD:
        problem = "ksmbd answers from shared kernel workers without a name of its own"
        yield f"{key}.any_port", f"{problem}; list its port in {key}.ports"
    elif settings.any_port and not settings.task_names:
        yield f"{key}.task_names", "any_port needs at least one task name"


def _find_port_conflicts(enabled: Mapping[Service, ServiceConfig]) -> Iterator[tuple[str, str]]:
    """Only smbd and ksmbd can share a port: the name of smbd's tasks tells them apart."""
    for first, second in combinations(enabled, 2):
        shared = sorted(set(enabled[first].ports) & set(enabled[second].ports))
        if not shared:
            continue
        if Service.NFSD in (first, second):
            ports = ", ".join(map(str, shared))
            yield f"services.{first}.ports", f"{second} has the same port: {ports}"
        elif not enabled[Service.SMBD].task_names:
            problem = "smbd and ksmbd share a port, so smbd needs a task name to be told apart"
            yield "services.smbd.task_names", problem

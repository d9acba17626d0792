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

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from nfszbx.traffic import Service


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


def _check_host(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_.-]{1,253}", text):
        return text
    try:
        return str(ip_address(text))
    except ValueError:
        raise ValueError(
            "should be a DNS name or an IP address; the port is a key of its own"
        ) from None


Port = Annotated[int, Field(strict=True, ge=1, le=65535)]
Switch = Annotated[bool, Field(strict=True)]
# Linux cuts task names to 15 characters (TASK_COMM_LEN - 1). No quote, backslash or space.
TaskName = Annotated[
    str,
    _matching(r"[A-Za-z0-9_.:/@+\[\]-]{1,15}", "1 to 15 of the characters A-Z a-z 0-9 _.:/@+[]-"),
]
IpAddress = Annotated[str, AfterValidator(_check_address)]
HostName = Annotated[str, AfterValidator(_check_host)]
ZabbixHostName = Annotated[
    str, _matching(r"[A-Za-z0-9_. -]{1,128}", "1 to 128 letters, digits, blanks, dots, _ and -")
]
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


class ZabbixConfig(_Settings):
    """Where values are sent, and as which Zabbix host."""

    server: HostName = "127.0.0.1"
    port: Port = 10051
    host: ZabbixHostName | None = None
    """Name of the host in Zabbix; unset means this machine's host name."""
    timeout_seconds: Annotated[int, Field(strict=True, ge=1, le=300)] = 10


class Config(_Settings):
    """Everything that can be set."""

    interval_seconds: Annotated[int, Field(strict=True, ge=1, le=3600)] = 10
    """Time between two dumps, and so between two values in a sink."""
    max_clients: Annotated[int, Field(strict=True, ge=1, le=100_000)] = 500
    """Clients with rows of their own; all others share the row ``other``."""
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
    services: ServicesConfig = ServicesConfig()
    prometheus: PrometheusConfig = PrometheusConfig()
    zabbix: ZabbixConfig = ZabbixConfig()


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
    if not config.sinks:
        conflicts.append(("sinks", "no sink is named; choose console, prometheus or zabbix"))
    return conflicts


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

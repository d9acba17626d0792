"""Reads what a Zabbix agent on this machine is configured with: its servers, its name, its TLS.

The format of ``zabbix_agentd.conf`` and ``zabbix_agent2.conf``: ``Key=Value`` in lines, comments
after ``#``, and ``Include`` of a file, a folder or a pattern in the last part of a path.
"""

from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from nfszbx.errors import ConfigurationError
from nfszbx.secret_files import explain_unreadable

MAX_INCLUDES = 10
"""How deep files may include others, as in the agents themselves."""

_TLS_KEYS = {
    "TLSConnect": "connect",
    "TLSCAFile": "ca_file",
    "TLSCRLFile": "crl_file",
    "TLSCertFile": "cert_file",
    "TLSKeyFile": "key_file",
    "TLSServerCertIssuer": "server_cert_issuer",
    "TLSServerCertSubject": "server_cert_subject",
    "TLSPSKIdentity": "psk_identity",
    "TLSPSKFile": "psk_file",
}


def read_agent_config(path: Path) -> dict[tuple[str, ...], object]:
    """Settings of nfszbx by their keys, as far as the agent has them.

    Without a server to send to there is none among them. Raises :class:`ConfigurationError` when a
    file cannot be read.
    """
    agent = dict(_read_lines(path, 0))
    # Server has the addresses that may ask the agent, networks among them: a last resort.
    servers = agent.get("ServerActive") or agent.get("Server", "")
    clusters = [name.strip() for name in servers.split(",") if name.strip() and "/" not in name]
    settings: dict[tuple[str, ...], object] = {}
    if clusters:
        settings["zabbix", "servers"] = clusters
    if name := agent.get("Hostname", "").partition(",")[0].strip():
        settings["zabbix", "host"] = name
    if agent.get("SourceIP"):
        settings["zabbix", "source_address"] = agent["SourceIP"]
    for key, ours in _TLS_KEYS.items():
        if agent.get(key):
            settings["zabbix", "tls", ours] = agent[key]
    return settings


def _read_lines(path: Path, depth: int) -> Iterator[tuple[str, str]]:
    if depth > MAX_INCLUDES:
        raise ConfigurationError(f"{path}: files include each other", "mend the agent's Include")
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise ConfigurationError(
            f"cannot read the agent's configuration {path}: {error.strerror}",
            explain_unreadable(error, "name another file with zabbix.agent_config"),
        ) from None
    for line in lines:
        key, equals, value = (part.strip() for part in line.partition("="))
        if not equals or key.startswith("#"):
            continue
        if key == "Include":
            for included in _find_included(path.parent / value):
                yield from _read_lines(included, depth + 1)
        else:
            yield key, value


def _find_included(path: Path) -> list[Path]:
    """The files, sorted; a folder or a pattern may have none."""
    if "*" in path.name:
        is_there = path.parent.is_dir()
        found = [f for f in path.parent.iterdir() if fnmatch(f.name, path.name)] if is_there else []
    elif path.is_dir():
        found = list(path.iterdir())
    else:
        return [path]
    return sorted(file for file in found if file.is_file())

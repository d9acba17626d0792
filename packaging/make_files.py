"""Writes what a package needs and the code knows: the configuration with comments, the manual page.

``python packaging/make_files.py`` writes both anew; a test compares them.
"""

import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import typer.main

from nfszbx.cli import app

REPOSITORY = Path(__file__).parent.parent
CONFIG_PATH = REPOSITORY / "packaging/debian/nfszbx.toml"
MANUAL_PATH = REPOSITORY / "packaging/debian/nfszbx.8"
_DOCUMENT = REPOSITORY / "docs/configuration.md"
_WIDTH = 98

_CONFIG_HEAD = """\
# Configuration of nfszbx. A line like "#interval_seconds = 10" shows a default, or an example where
# it says so: remove its "#" to change it, then
#   systemctl reload nfszbx
# "journalctl -u nfszbx" and "systemctl status nfszbx" tell what is wrong with it, if anything is.
"""
_SET_HERE = {"sinks": ["prometheus"]}
"""What a service does otherwise than a command: its console would be the journal."""
_EXAMPLES = {
    "bpftrace": "/usr/bin/bpftrace",
    "zabbix.host": "file server 1",
    "zabbix.agent_config": "/etc/zabbix/zabbix_agent2.conf",
    "zabbix.source_address": "192.0.2.7",
    "zabbix.tls.psk_identity": "file server 1",
    "zabbix.tls.psk_file": "/etc/nfszbx/zabbix.psk",
    "zabbix.tls.ca_file": "/etc/nfszbx/ca.pem",
    "zabbix.tls.crl_file": "/etc/nfszbx/crl.pem",
    "zabbix.tls.cert_file": "/etc/nfszbx/cert.pem",
    "zabbix.tls.key_file": "/etc/nfszbx/key.pem",
    "zabbix.tls.server_cert_issuer": "CN=Signing CA,O=Example",
    "zabbix.tls.server_cert_subject": "CN=zabbix.example.org,O=Example",
    "zabbix.api.url": "https://zabbix.example.org",
    "zabbix.api.token_file": "/etc/nfszbx/token",
    "zabbix.api.token": "better in a file",
    "zabbix.api.ca_file": "/etc/nfszbx/ca.pem",
}
"""For keys that have no default."""
_OTHER_SERVICES = {
    "smbd": {"enabled": True, "ports": [445, 139], "task_names": ["smbd"], "any_port": False},
    "ksmbd": {"enabled": True, "ports": [445, 139]},
}
"""The document explains the keys of all services with those of nfsd."""


class _Key(NamedTuple):
    table: str
    """Empty for a key of the top level."""
    name: str
    kind: str
    default: str
    """As in TOML; in words when there is none."""
    meaning: str


def make_config() -> str:
    """Every key, with what the documentation says of it."""
    keys = list(_read_keys(_DOCUMENT.read_text(encoding="utf-8")))
    text = _CONFIG_HEAD
    for table in dict.fromkeys(key.table for key in keys):
        text += f"\n[{table}]\n" if table else ""
        for key in keys:
            if key.table == table:
                text += "\n" + "\n".join(_describe_key(key)) + "\n"
        if table == "services.nfsd":
            for service, settings in _OTHER_SERVICES.items():
                text += f"\n# Like those of nfsd.\n[services.{service}]\n"
                text += "".join(f"#{name} = {_show(value)}\n" for name, value in settings.items())
    return text


def _read_keys(document: str) -> Iterator[_Key]:
    rows = re.findall(
        r"^\| `([a-z_.]+)` \| (.*?) \| (.*?) \| (.*?) \|$", document, flags=re.MULTILINE
    )
    for key, kind, default, meaning in rows:
        table, _, name = key.rpartition(".")
        plain = (re.sub(r"\[(.*?)\]\(.*?\)", r"\1", part) for part in (kind, default, meaning))
        yield _Key(table, name, *plain)


def _describe_key(key: _Key) -> Iterator[str]:
    dotted = f"{key.table}.{key.name}" if key.table else key.name
    has_default = key.default.startswith("`")
    kind = key.kind if has_default else f"{key.kind}; default: {key.default}"
    words = f"{key.meaning[0].upper()}{key.meaning[1:]} ({kind})."
    yield from textwrap.wrap(
        words.replace("`", ""),
        _WIDTH,
        initial_indent="# ",
        subsequent_indent="# ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    if dotted in _SET_HERE:
        yield f"{key.name} = {_show(_SET_HERE[dotted])}"
    elif has_default:
        yield f"#{key.name} = {key.default.split('`')[1]}"
    else:
        yield f"#{key.name} = {_show(_EXAMPLES[dotted])}  # an example"


def _show(value: object) -> str:
    """In TOML, which has texts, numbers, truth and lists as JSON has them."""
    return json.dumps(value)


_MANUAL_HEAD = r""".\" Made by packaging/make_files.py from what "nfszbx --help" says.
.TH NFSZBX 8 "" nfszbx "System Administration"
.SH NAME
nfszbx \- bytes per client of the NFS and SMB servers on this machine
.SH SYNOPSIS
.B nfszbx
.I command
.RI [ options ]
.SH DESCRIPTION
.B nfszbx
tells who moves how much through a Linux file server: bytes per second received and transmitted,
in total and per client address, for the kernel's NFS server (knfsd), Samba's smbd and the kernel's
ksmbd. It generates a bpftrace script for the kernel at hand, keeps it running, and hands the
numbers to the terminal, to Prometheus and to Zabbix. Receive and transmit are seen from the server.
.PP
As a service it is started, and started at each boot, by
.RS
.B systemctl enable \-\-now nfszbx
.RE
and then shows its values on http://127.0.0.1:20490/metrics.
.SH COMMANDS
"""
_MANUAL_TAIL = r""".SH FILES
.TP
.I /etc/nfszbx/nfszbx.toml
The configuration; it explains each key.
.B systemctl reload nfszbx
reads it again.
.TP
.I /var/lib/nfszbx
What outlasts a run: the counters, and values for Zabbix that its servers do not have for certain
yet.
.SH ENVIRONMENT
.TP
.B NFSZBX_CONFIG
Another configuration file; the option \-\-config wins.
.TP
.BI NFSZBX_ KEY
A setting: the key in capitals, tables joined by two underscores, the value as in TOML, as in
NFSZBX_MAX_CLIENTS=100 and NFSZBX_SERVICES__NFSD__PORTS=\(aq[2049, 20049]\(aq.
.SH SIGNALS
.TP
.B SIGTERM, SIGINT
End it: the last bytes are counted and delivered.
.TP
.B SIGHUP
Under systemd: read the configuration again; what is wrong in it changes nothing. Otherwise: end it.
.SH SEE ALSO
.BR bpftrace (8),
.BR nfsiostat (8),
.BR journalctl (1)
"""


def make_manual() -> str:
    """The manual page nfszbx(8)."""
    command = typer.main.get_command(app)
    text = _MANUAL_HEAD + "".join(_describe_command(command, ""))
    codes = str(command.epilog).removeprefix("Exit codes: ").rstrip(".")
    text += ".SH EXIT STATUS\n"
    for entry in codes.split("; "):
        code, _, meaning = entry.partition(" ")
        text += f".TP\n.B {code}\n{_escape(meaning)}\n"
    return text + _MANUAL_TAIL


def _describe_command(command: Any, above: str) -> Iterator[str]:  # noqa: ANN401  Typer's own Click
    for name, inner in command.commands.items():
        full = f"{above}{name}"
        if hasattr(inner, "commands"):
            yield from _describe_command(inner, f"{full} ")
            continue
        yield f".SS nfszbx {full}\n{_escape(' '.join(str(inner.help).split()))}\n"
        for option in inner.params:
            names = ", ".join(_escape(each) for each in option.opts)
            value = "" if option.is_flag else r" \fIvalue\fR"
            yield f".TP\n\\fB{names}\\fR{value}\n{_escape(option.help or '')}\n"


def _escape(text: str) -> str:
    """A line cannot begin with a dot or a quote, and a hyphen of a command is a minus sign."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return f"\\&{escaped}" if escaped.startswith(".") else escaped


FILES = {CONFIG_PATH: make_config, MANUAL_PATH: make_manual}

if __name__ == "__main__":
    for path, make in FILES.items():
        path.write_text(make(), encoding="utf-8")

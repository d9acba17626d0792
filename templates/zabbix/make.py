"""Writes the files of this folder: ``python templates/zabbix/make.py``.

For each version of Zabbix the template and its README, in the layout that the public repository of
community templates asks for.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nfszbx.template.assemble import make_export, render_template
from nfszbx.template.parts import TEMPLATE, Version

NAME = "template_linux_file_server_by_nfszbx"
FOLDER = Path(__file__).parent / NAME
TESTED = {Version.V6_0: "6.0.14", Version.V7_0: "7.0.22"}

_OVERVIEW = """\
# {name}

## Overview

Who moves how much through a Linux file server: bytes per second of the kernel's NFS server, Samba
and ksmbd, in total and for each client; NFS operations with their errors and times, by version and
export; with a dashboard and triggers.

nfszbx runs on the file server, counts with bpftrace, and sends its values to three trapper items;
everything else depends on these. Values that could not be delivered wait on disk
there and come later with their own time.

## Requirements

Zabbix version: {version} and higher.

## Tested versions

This template has been tested on:
- Zabbix {tested}

## Configuration

> Zabbix should be configured according to the instructions in the section
[Templates out of the box]({manual}/config/templates_out_of_the_box).

## Setup

1. Install nfszbx on the file server.
2. Import this template and link it to the file server's host in Zabbix, which needs no interface.
3. Run `nfszbx run --sink zabbix --zabbix-server ADDRESS --zabbix-host "NAME OF THE HOST"`.

With an API token, `nfszbx zabbix install` does the second step, and `nfszbx zabbix check` finds out
why nothing is shown.
"""


def render_readme(version: Version) -> str:
    """The README beside the template."""
    (template,) = make_export(version)["zabbix_export"]["templates"]
    parts = [
        _OVERVIEW.format(
            name=TEMPLATE,
            version=version.value,
            tested=TESTED[version],
            manual=f"https://www.zabbix.com/documentation/{version.value}/manual",
        ),
        "### Macros used\n\n"
        + _table(
            ("Name", "Description", "Default"),
            [(m["macro"], m["description"], f"`{m['value']}`") for m in template["macros"]],
        ),
        _describe_items(template["items"], "Items"),
        _describe_triggers(template["items"], "triggers", "Triggers"),
    ]
    for rule in template["discovery_rules"]:
        name = rule["name"]
        parts += [
            f"### LLD rule {name}\n\n"
            + _table(
                ("Name", "Description", "Type", "Key and additional info"),
                [(name, rule["description"], "Dependent item", rule["key"])],
            ),
            _describe_items(rule["item_prototypes"], f"Item prototypes for {name}"),
            _describe_triggers(
                rule["item_prototypes"], "trigger_prototypes", f"Trigger prototypes for {name}"
            ),
        ]
    return "\n".join(part for part in parts if part)


def _describe_items(items: list[dict[str, Any]], title: str) -> str:
    types = {"TRAP": "Zabbix trapper", "DEPENDENT": "Dependent item"}
    rows = [(item["name"], item["description"], types[item["type"]], item["key"]) for item in items]
    return f"### {title}\n\n" + _table(
        ("Name", "Description", "Type", "Key and additional info"), rows
    )


def _describe_triggers(items: list[dict[str, Any]], kind: str, title: str) -> str:
    rows = []
    for item in items:
        for trigger in item.get(kind, []):
            notes = ["off by default"] if trigger.get("status") == "DISABLED" else []
            notes += ["manual close"] if "manual_close" in trigger else []
            notes += [f"depends on: {above['name']}" for above in trigger.get("dependencies", [])]
            severity = trigger["priority"].capitalize()
            text = trigger["description"]
            rows.append(
                (trigger["name"], text, f"`{trigger['expression']}`", severity, "; ".join(notes))
            )
    if not rows:
        return ""
    heads = ("Name", "Description", "Expression", "Severity", "Dependencies and additional info")
    return f"### {title}\n\n" + _table(heads, rows)


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "".join(
        "|" + "|".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + "|\n"
        for line in lines
    )


def list_files() -> dict[Path, str]:
    """What belongs here, by path."""
    return {
        path: text
        for version in Version
        for path, text in (
            (FOLDER / version.value / f"{NAME}.yaml", render_template(version)),
            (FOLDER / version.value / "README.md", render_readme(version)),
        )
    }


if __name__ == "__main__":
    for path, text in list_files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

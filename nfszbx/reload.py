"""Compares the settings in force with those that were read again: what follows from which key."""

from dataclasses import dataclass

from pydantic import BaseModel

from nfszbx.config import Config

SINK_KEYS = {
    "console": (),
    "prometheus": ("prometheus",),
    "zabbix": ("zabbix", "spool"),
}
"""The first part of the keys that each sink is opened with."""
_LIVE_KEYS = frozenset({"log_level", "max_clients", "client_idle_seconds"})
_BESIDE_KEYS = frozenset({"operations", "smb"})
"""Each part finds out by itself what it depends on."""
_PLAN_KEYS = frozenset(
    {"interval_seconds", "map_max_entries", "way", "services", "audit_interval_seconds"}
)


@dataclass(frozen=True)
class Changes:
    """What has to be done for other settings to be in force."""

    keys: tuple[str, ...]
    """All that differ, as in the configuration file, sorted."""
    at_restart: tuple[str, ...]
    """Those of them that wait for the next start of nfszbx."""
    new_plan: bool
    new_sinks: bool
    """Their process begins anew: it has no rights to read keys or to listen."""


def compare(old: Config, new: Config) -> Changes:
    """What differs; ``old`` is in force."""
    keys = tuple(sorted(_list_differences(old, new, "")))
    parts = {key.partition(".")[0] for key in keys}
    has_others = set(old.sinks) != set(new.sinks)
    live = _LIVE_KEYS | _PLAN_KEYS | _BESIDE_KEYS | {"sinks"}.union(*SINK_KEYS.values())
    return Changes(
        keys,
        at_restart=tuple(key for key in keys if key.partition(".")[0] not in live),
        new_plan=bool(parts & _PLAN_KEYS),
        new_sinks=has_others or any(parts.intersection(SINK_KEYS[name]) for name in new.sinks),
    )


def keep(old: Config, new: Config, changes: Changes) -> Config:
    """``new``, but for what waits for a restart: the settings that are in force from now on."""
    waiting = {key.partition(".")[0] for key in changes.at_restart}
    return new.model_copy(update={name: getattr(old, name) for name in waiting})


def _list_differences(old: BaseModel, new: BaseModel, above: str) -> list[str]:
    found = []
    for name in type(old).model_fields:
        before, after = getattr(old, name), getattr(new, name)
        if isinstance(before, BaseModel):
            found += _list_differences(before, after, f"{above}{name}.")
        elif before != after:
            found.append(f"{above}{name}")
    return found

"""Reads the configuration from a TOML file, the environment and flags, later ones winning.

Environment: ``NFSZBX_`` and the key in capitals, tables joined by two underscores, the value as
in TOML (a text that is no TOML value is taken as a string):
``NFSZBX_MAX_CLIENTS=100``, ``NFSZBX_SERVICES__NFSD__PORTS='[2049, 20049]'``.
"""

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from nfszbx.agent_config import read_agent_config
from nfszbx.config import TLS_KEYS, Config, find_conflicts
from nfszbx.errors import ConfigurationError

ENVIRONMENT_PREFIX = "NFSZBX_"
CONFIG_VARIABLE = "NFSZBX_CONFIG"
DEFAULT_PATH = Path("/etc/nfszbx/nfszbx.toml")

_SECRETS = {
    *(("zabbix", "api", "token"), ("zabbix", "api", "token_file"), ("zabbix", "api", "url")),
    *(("zabbix", "tls", "psk_file"), ("zabbix", "tls"), ("zabbix", "api")),
}
"""What may be a password, also by mistake, and is not shown."""
_PLAIN_MESSAGES = {
    "model_type": "should be a table",
    "tuple_type": "should be a list, in brackets",
    "too_short": "should not be empty",
}


class Flag(NamedTuple):
    """A flag of the command line."""

    option: str
    """As the user types it."""
    keys: tuple[str, ...]
    value: object
    """None when the flag was not given."""


class _Sources:
    """Settings merged so far, and where each came from."""

    def __init__(self) -> None:
        self.merged: dict[str, Any] = {}
        self.origins: dict[tuple[str, ...], str] = {}
        self.problems: list[str] = []

    def add(self, keys: tuple[str, ...], value: object, origin: str) -> None:
        """Take a setting, or all settings of a table."""
        if isinstance(value, dict) and (value or not keys):
            for key, inner in value.items():
                self.add((*keys, key), inner, origin)
            return
        table = self.merged
        for length, key in enumerate(keys[:-1], start=1):
            table = table.setdefault(key, {})
            if not isinstance(table, dict):
                above = keys[:length]
                self.problems.append(
                    f"{_dotted(above)} ({self.origin_of(above)}): should be a table"
                )
                return
        table[keys[-1]] = value
        self.origins[keys] = origin

    def origin_of(self, keys: tuple[str, ...]) -> str:
        """The source of a setting; of a list's element its list's, of a table its first key's."""
        for length in range(len(keys), 0, -1):
            if keys[:length] in self.origins:
                return self.origins[keys[:length]]
        inside = (origin for known, origin in self.origins.items() if known[: len(keys)] == keys)
        return next(inside, "defaults")


def load_config(path: Path | None, environment: Mapping[str, str], flags: Iterable[Flag]) -> Config:
    """The configuration of a run.

    ``path`` is what the user named; without it ``NFSZBX_CONFIG`` counts, then the default file if
    there is one.
    Raises :class:`ConfigurationError` with a line for every problem found.
    """
    sources = _Sources()
    file = _find_file(path, environment)
    sources.add((), _read_file(file) if file else {}, str(file))
    for name, text in sorted(environment.items()):
        if name.startswith(ENVIRONMENT_PREFIX) and name != CONFIG_VARIABLE:
            keys = tuple(name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__"))
            sources.add(keys, _parse_value(text), name)
    for flag in flags:
        if flag.value is not None:
            sources.add(flag.keys, flag.value, flag.option)
    _add_agent_settings(sources)
    try:
        config = Config.model_validate(sources.merged)
    except ValidationError as error:
        problems = [_describe(dict(detail), sources) for detail in error.errors()]
        raise _configuration_error([*sources.problems, *problems]) from None
    problems = sources.problems + [f"{key}: {text}" for key, text in find_conflicts(config)]
    if problems:
        raise _configuration_error(problems)
    return config


def _add_agent_settings(sources: _Sources) -> None:
    """What a Zabbix agent's configuration has, as far as it is not set here."""
    zabbix = sources.merged.get("zabbix")
    if not isinstance(zabbix, dict) or not isinstance(path := zabbix.get("agent_config"), str):
        return
    settings = read_agent_config(Path(path))
    tls = zabbix.get("tls")
    connect = tls.get("connect") if isinstance(tls, dict) else None
    connect = connect or settings.get(("zabbix", "tls", "connect"))
    used = {"connect", *TLS_KEYS.get(str(connect), ())}
    for keys, value in settings.items():
        # The agent's other keys are for those who connect to it.
        is_used = keys[:2] != ("zabbix", "tls") or keys[2] in used
        if is_used and keys not in sources.origins:
            sources.add(keys, value, path)
    if ("zabbix", "servers") not in sources.origins:
        sources.problems.append(
            f"zabbix.servers is not set, and {path} names no server in ServerActive or Server"
        )


def _configuration_error(problems: list[str]) -> ConfigurationError:
    lines = "".join(f"\n  {problem}" for problem in dict.fromkeys(problems))
    count = "1 setting is" if len(set(problems)) == 1 else f"{len(set(problems))} settings are"
    return ConfigurationError(
        f"{count} wrong:{lines}", "docs/configuration.md lists every key, its type and its default"
    )


def _find_file(path: Path | None, environment: Mapping[str, str]) -> Path | None:
    if path is None and environment.get(CONFIG_VARIABLE):
        return Path(environment[CONFIG_VARIABLE])
    if path is None:
        try:
            DEFAULT_PATH.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError:
            pass  # there, but not for us: reading it will say so
        return DEFAULT_PATH
    return path


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigurationError(
            f"cannot read the configuration {path}: {error.strerror}",
            "name another file with --config",
        ) from None
    except (ValueError, RecursionError) as error:  # not UTF-8, or not TOML: with line and column
        raise ConfigurationError(
            f"the configuration {path} is not valid TOML: {error}",
            "strings stand in quotes, tables in brackets: [services.nfsd], ports = [2049]",
        ) from None


def _parse_value(text: str) -> object:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):  # no TOML value, or one beyond all bounds
        return text
    return parsed["value"] if parsed.keys() == {"value"} else text


def _describe(detail: Mapping[str, Any], sources: _Sources) -> str:
    location = tuple(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        known = _known_keys(location[:-1])
        close = difflib.get_close_matches(location[-1], known, n=1)
        advice = f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"
        problem = f"unknown key; {advice}"
    else:
        message = _PLAIN_MESSAGES.get(detail["type"], detail["msg"])
        message = message.removeprefix("Value error, ").removeprefix("Input ")
        problem = message
        if location[:3] not in _SECRETS:
            problem += f", got {_show(detail['input'])}"
    return f"{_dotted(location)} ({sources.origin_of(location)}): {problem}"


def _show(value: object) -> str:
    """The value as a user wrote it, cut to a readable length."""
    try:
        return f"{value!r:.80}"
    except ValueError:  # an integer of thousands of digits
        return "a number beyond all bounds"


def _known_keys(tables: tuple[str, ...]) -> list[str]:
    model: type[BaseModel] = Config
    for table in tables:
        inner = model.model_fields[table].annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            model = inner
    return sorted(model.model_fields)


def _dotted(keys: tuple[str, ...]) -> str:
    """``services.nfsd.ports[0]``; a key that is no plain word is shown quoted."""
    shown = [key if key.isidentifier() or key.isdigit() else f"{key!r:.80}" for key in keys]
    return "".join(f"[{key}]" if key.isdigit() else f".{key}" for key in shown).removeprefix(".")

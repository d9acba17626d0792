"""The files of the Debian package that are made from the code say what the code does."""

import re
import runpy
import tomllib
from pathlib import Path

import pytest

from nfszbx.config import Config
from nfszbx.settings import load_config
from tests.unit.test_docs import keys_of

ROOT = Path(__file__).parents[2]
MAKE = runpy.run_path(str(ROOT / "packaging/make_files.py"))
CONFIG = ROOT / "packaging/debian/nfszbx.toml"
_COMMENTED = re.compile(r"^#(?=[a-z_]+ = )", re.MULTILINE)


@pytest.mark.parametrize("path", MAKE["FILES"], ids=lambda path: path.name)
def test_golden(path: Path) -> None:
    """``python packaging/make_files.py`` writes them; read the difference before committing."""
    assert MAKE["FILES"][path]() == path.read_text(encoding="utf-8")


def test_configuration_as_installed_is_the_default_with_another_sink() -> None:
    assert load_config(CONFIG, {}, []) == Config(sinks=("prometheus",))


def test_configuration_has_every_key_and_no_other() -> None:
    document = tomllib.loads(_COMMENTED.sub("", CONFIG.read_text(encoding="utf-8")))
    other_services = {"services.smbd", "services.ksmbd"}
    found = {key for key in list_keys(document) if key.rpartition(".")[0] not in other_services}
    assert found == keys_of(Config)
    assert set(document["services"]) == {"nfsd", "smbd", "ksmbd"}


def list_keys(table: dict[str, object], above: str = "") -> set[str]:
    keys = set()
    for name, value in table.items():
        inner = list_keys(value, f"{above}{name}.") if isinstance(value, dict) else None
        keys |= inner or {f"{above}{name}"}
    return keys


def list_lines() -> list[str]:
    """The settings that are commented out, by their places in the file."""
    return [match[0] for match in re.finditer(r"^#[a-z_]+ = .*$", CONFIG.read_text(), re.MULTILINE)]


@pytest.mark.parametrize("number", range(len(list_lines())), ids=lambda n: list_lines()[n])
def test_commented_line_by_itself(number: int) -> None:
    """Without its "#" it is the default that it claims to be, or a valid example."""
    lines = CONFIG.read_text().splitlines()
    at = [place for place, line in enumerate(lines) if re.match(r"#[a-z_]+ = ", line)][number]
    lines[at] = lines[at].removeprefix("#")
    config = Config.model_validate(tomllib.loads("\n".join(lines)))
    is_default = config == Config(sinks=("prometheus",))
    assert is_default != lines[at].endswith("  # an example")


def test_manual_names_every_option() -> None:
    """The made part; what is written by hand names the files and signals."""
    manual = MAKE["make_manual"]().replace("\\-", "-")
    for words in ("nfszbx run", "nfszbx zabbix install", "--interval-seconds", "--lock", "--facts"):
        assert words in manual
    assert ".TP\n.B 6\n" in manual

"""The files in ``templates/zabbix`` are what the generator makes, and what a repository accepts."""

import re
import runpy
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
MAKE = runpy.run_path(str(REPOSITORY / "templates/zabbix/make.py"))
FILES: dict[Path, str] = MAKE["list_files"]()
TEMPLATES = [path for path in FILES if path.suffix == ".yaml"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(path.parents[1])))
def test_golden(path: Path) -> None:
    """``python templates/zabbix/make.py`` writes them; read the difference before committing."""
    assert FILES[path] == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.parent.name)
def test_rules_of_the_community_templates(path: Path) -> None:
    """``.github/workflows/scripts/rules`` of zabbix/community-templates, but for the import."""
    export = yaml.safe_load(path.read_text())["zabbix_export"]
    assert re.fullmatch(r"template_[.a-zA-Z0-9()_-]+", path.stem)
    assert re.fullmatch(r"template_[.a-zA-Z0-9()_-]+", path.parts[-3])
    assert path.parent.name == export["version"]
    assert list(path.parent.glob("template_*")) == [path]
    assert (path.parent / "README.md").is_file()


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.parent.name)
def test_guidelines(path: Path) -> None:
    """Of Zabbix' template guidelines, what can be checked without reading."""
    (template,) = yaml.safe_load(path.read_text())["zabbix_export"]["templates"]
    assert re.search(r" by \S+$", template["name"])
    items = list(walk(template, "items")) + list(walk(template, "item_prototypes"))
    assert len(items) > 20
    for item in items:
        assert item["description"]
        assert item["tags"][0]["tag"] == "component"
    triggers = list(walk(template, "triggers")) + list(walk(template, "trigger_prototypes"))
    assert triggers
    for trigger in triggers:
        assert [tag["tag"] for tag in trigger["tags"]] == ["scope"]
        thresholds = re.findall(r"[<>]=?\s*-?(\d+)", trigger["expression"])
        assert set(thresholds) <= {"0"}, trigger["expression"]
    for macro in template["macros"]:
        assert macro["description"]
    uuids = [node["uuid"] for node in walk_all(template) if "uuid" in node]
    assert len(set(uuids)) == len(uuids)
    assert all(UUID(text).version == 4 for text in uuids)


def walk_all(node: object) -> list[dict[str, Any]]:
    """Every mapping in a document."""
    inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    found = [node] if isinstance(node, dict) else []
    for child in inner:
        found += walk_all(child)
    return found


def walk(template: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """All nodes in lists of this name."""
    return [entry for node in walk_all(template) for entry in node.get(kind, [])]

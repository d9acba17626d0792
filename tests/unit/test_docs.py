"""The documents say what the code does."""

import os
import re
from pathlib import Path

from pydantic import BaseModel

from benchmarks import clients, soak
from nfszbx import catalog
from nfszbx.config import Config, ServiceConfig

ROOT = Path(__file__).parents[2]
METRICS_HEAD = """\
# Metrics

Made from `nfszbx/catalog.py`. A counter starts at zero and only grows. Those of the services and
clients go on when nfszbx is started again, until the machine boots; all others start anew. Rates
are in the documents of the console and of Zabbix only: Prometheus makes its own of the counters.

| name | kind | labels | meaning |
|---|---|---|---|
"""


def test_metrics_page_is_the_catalogue() -> None:
    """``TESTS_ACCEPT=1`` writes it anew."""
    rows = [
        f"| `{m.name}` | {m.kind} | {', '.join(m.labels)} | {m.help} |\n" for m in catalog.METRICS
    ]
    text = METRICS_HEAD + "".join(rows)
    path = ROOT / "docs" / "metrics.md"
    if os.environ.get("TESTS_ACCEPT"):
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


def keys_of(model: type[BaseModel], above: str = "") -> set[str]:
    keys = set()
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            # The page explains the keys of all services with those of nfsd.
            if not issubclass(inner, ServiceConfig) or name == "nfsd":
                keys |= keys_of(inner, f"{above}{name}.")
        else:
            keys.add(f"{above}{name}")
    return keys


def test_configuration_page_has_every_key_and_no_other() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([a-z_.]+)` \|", text, re.MULTILINE)) == keys_of(Config)


def test_load_page_has_the_results_of_the_benchmarks() -> None:
    """Run them and paste what they print."""
    text = (ROOT / "docs" / "load.md").read_text(encoding="utf-8")
    assert clients.make_table(clients.RESULTS) in text
    assert soak.make_table(soak.RESULTS) in text


def test_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *ROOT.glob("docs/*.md")]:
        for target in re.findall(r"\]\(([^):]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target.partition("#")[0]).exists(), (
                f"{page.name} links to {target}"
            )

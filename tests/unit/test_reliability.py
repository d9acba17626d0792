"""docs/reliability.md says what the fault tests measured, and what the tables of states are."""

import json
import re

from benchmarks.faults import PAGE, PARTS, RESULTS, RULES, render_page
from nfszbx import catalog
from nfszbx.child.states import EndReason

NAMES = {metric.name for metric in catalog.METRICS} | {"nfszbx"}


def test_page_is_made_of_the_results() -> None:
    """Run ``python -m benchmarks.faults`` after new results."""
    assert PAGE.read_text(encoding="utf-8") == render_page()


def test_every_part_has_faults_whose_metrics_exist() -> None:
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in RESULTS.glob("*.json")]
    assert {row["part"] for row in rows} == set(PARTS)
    for row in rows:
        assert row["metric"].partition("{")[0] in NAMES | {""}


def test_metrics_of_the_page_and_of_the_rules_exist() -> None:
    for path in (PAGE, RULES):
        assert set(re.findall(r"nfszbx_[a-z_]+", path.read_text(encoding="utf-8"))) <= NAMES


def test_every_reason_is_explained() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([a-z_]+)` \| ", text, re.MULTILINE)) == set(EndReason)

"""docs/performance.md says what the benchmarks have measured."""

import json

from benchmarks.cells import divide
from benchmarks.performance import KERNEL_RESULTS, PAGE, render_page


def test_page_is_made_of_the_results() -> None:
    """Run ``python -m benchmarks.performance`` after new results."""
    assert PAGE.read_text(encoding="utf-8") == render_page()


def test_ratios_are_of_the_same_round() -> None:
    assert divide([2.0, 9.0, 4.0], [1.0, 3.0, 4.0]) == {"least": 1.0, "median": 2.0, "most": 3.0}


def test_every_contender_has_run_for_every_call() -> None:
    """One that missed calls would look cheap."""
    for path in KERNEL_RESULTS.glob("*.json"):
        for name, figure in json.loads(path.read_text(encoding="utf-8"))["figures"].items():
            assert all(runs >= 1 for runs in figure["runs"].values()), f"{path.name}: {name}"

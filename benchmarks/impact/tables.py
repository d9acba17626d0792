"""The tables of what a server feels, for ``docs/performance.md``."""

import json
from collections.abc import Iterator
from pathlib import Path

from benchmarks.cells import divide, judge, show
from benchmarks.impact.measuring import AGAIN, NFSZBX, NOTHING, Figures, Result

RESULTS = Path(__file__).parents[1] / "results" / "impact"
MAX_LOSS_PERCENT = 1


def render_impacts() -> dict[str, str]:
    """By the words in the template."""
    parts = {}
    for name in ("native", "lab"):
        path = RESULTS / f"{name}.json"
        result: Result = json.loads(path.read_text(encoding="utf-8"))
        services = result["services"]
        figures = next(iter(services.values()))
        rounds = len(figures["p99_seconds"][NOTHING])
        parts[f"IMPACT_{name.upper()}_ROUNDS"] = str(rounds)
        parts[f"IMPACT_{name.upper()}_KERNEL"] = result["kernel"]
        parts[f"IMPACT_{name.upper()}_GOAL"] = "\n".join(
            f"- {_judge_impact(service, each)}" for service, each in services.items()
        )
        parts[f"IMPACT_{name.upper()}_TABLE"] = "\n".join(_render_impact(services))
    return parts


def _render_impact(services: dict[str, Figures]) -> Iterator[str]:
    heads = [
        f"{service}, {what}"
        for service in services
        for what in ("throughput", "99th percentile of a read")
    ]
    yield f"| beside it | {' | '.join(heads)} |"
    yield "|---|" + "---:|" * len(heads)
    for name in next(iter(services.values()))["bytes_per_second"]:
        cells = [
            show(divide(figures[name], figures[NOTHING]), digits=3)
            for service in services.values()
            for figures in (service["bytes_per_second"], service["p99_seconds"])
        ]
        yield f"| {name} | {' | '.join(cells)} |"


def _judge_impact(service: str, figures: Figures) -> str:
    rates = figures["bytes_per_second"]
    ratios = {name: divide(rates[name], rates[NOTHING]) for name in rates}
    chance = ratios.pop(AGAIN)
    del ratios[NOTHING]
    noise = 100 * max(chance["most"] - 1, 1 - chance["least"])
    losses = {name: 100 * (1 - spread["median"]) for name, spread in ratios.items()}
    mine = losses.pop(NFSZBX)
    if noise > max(MAX_LOSS_PERCENT, abs(mine)):
        return f"{service}: **not to be told**, chance alone makes up to {noise:.0f} % in a round."
    least = min(losses, key=losses.__getitem__)
    return (
        f"{service}: nfszbx takes {mine:.1f} % of throughput, goal {MAX_LOSS_PERCENT} %: "
        f"{judge(kept=mine <= MAX_LOSS_PERCENT)}. Of the others {least} takes least, "
        f"{losses[least]:.1f} %; goal, less than that: {judge(kept=mine < losses[least])}. "
        f"Chance makes up to {noise:.1f} % in a round."
    )

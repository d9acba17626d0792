"""What stands in the cells of the tables."""

from benchmarks.bpf_statistics import Spread, make_spread


def divide(figures: list[float], base: list[float]) -> Spread:
    """Round by round."""
    return make_spread([one / other for one, other in zip(figures, base, strict=True)])


def show(spread: Spread, digits: int = 2) -> str:
    """The median, and the least and the most."""
    median, least, most = (
        f"{number:.{digits}f}" for number in (spread["median"], spread["least"], spread["most"])
    )
    return f"**{median}** ({least} to {most})"


def judge(*, kept: bool) -> str:
    """Of a goal."""
    return "kept" if kept else "**missed**"

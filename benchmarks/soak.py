"""Days of measuring at full size: ``python -m benchmarks.soak [DAYS]``, one by default.

In every interval of ten seconds 2,000 of 100,000 clients move something in both directions; the
window of those 2,000 passes over all of them, and they come back. All stages and all sinks get
every interval, with the default limits; the Zabbix server is down for a third of the time. What
comes out is compared with what flowed, at every interval. Writes ``benchmarks/results/soak.json``
and prints the table of ``docs/load.md``, in MB. A day takes about 20 minutes of processor time.
"""

import json
import platform
import sys
import tempfile
import time
from pathlib import Path

from nfszbx.config import Config
from tests.soaking import CONSUMER, Figures, Shape, Soak

RESULTS = Path(__file__).parent / "results" / "soak.json"
INTERVALS_PER_DAY = 8640
FIGURES = 10


def make_shape(intervals: int) -> Shape:
    """Of a run of so many intervals."""
    config = Config()
    return Shape(
        intervals=intervals,
        interval_seconds=config.interval_seconds,
        clients=100_000,
        active=2_000,
        passes=max(2, intervals // INTERVALS_PER_DAY),
        flows=2_000,
        map_max_entries=config.map_max_entries,
        max_clients=config.max_clients,
        client_idle_seconds=config.client_idle_seconds,
        zabbix_max_clients=config.zabbix.max_clients,
        spool_max_bytes=20_000_000,
        down=range(intervals // 3, 2 * intervals // 3),
    )


def make_table(path: Path) -> str:
    """Of a result, in Markdown."""
    result = json.loads(path.read_text(encoding="utf-8"))
    names = list(result["figures_bytes"][0])
    lines = [f"| interval | {' | '.join(name.replace('_', ' ') for name in names)} |"]
    lines.append("|---:" * (1 + len(names)) + "|")
    for number, figures in enumerate(result["figures_bytes"], start=1):
        cells = " | ".join(f"{figures[name] / 1e6:.2f}" for name in names)
        lines.append(f"| {number * (result['intervals'] // FIGURES):,} | {cells} |")
    return "\n".join(lines)


def main() -> None:
    """Run, and write down what it took."""
    days = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    shape = make_shape(round(days * INTERVALS_PER_DAY))
    begin = time.process_time()

    def tell(number: int, figures: Figures) -> None:
        print(number, *(f"{size / 1e6:.2f}" for size in figures), file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as folder, Soak(Path(folder), shape) as soak:
        soak.run(shape.intervals // FIGURES, tell)
        result = {
            "python": platform.python_version(),
            "intervals": shape.intervals,
            "cpu_seconds": round(time.process_time() - begin),
            "children": soak.kernel.children,
            "clients_that_left": soak.left,
            "clients_that_began_anew": soak.began_anew,
            "values_dropped": soak.spool.count_dropped(CONSUMER),
            "figures_bytes": [figures._asdict() for figures in soak.figures],
        }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(make_table(RESULTS))


if __name__ == "__main__":
    main()

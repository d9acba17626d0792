"""What many clients cost nfszbx: ``python -m benchmarks.clients``.

For each number of clients a process of its own, on one core: dumps in which all of them have moved
something in both directions, as bpftrace prints them, through every stage and into every sink.
Each client has a row, in Zabbix as far as its largest setting allows; the last line has the default
number of rows. Writes ``benchmarks/results/clients.json`` and prints the table of ``docs/load.md``.
Figures are medians over all dumps but the first, which is the one with new clients only.
"""

import gc
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from typing import TypedDict

from nfszbx.config import CLIENT_IDLE_SECONDS, Config, PrometheusConfig, ZabbixConfig
from nfszbx.counter_store import CounterStore
from nfszbx.counters import Counters
from nfszbx.dump import Dump, DumpReader
from nfszbx.health import Health, SinksHealth
from nfszbx.plan import Plan
from nfszbx.samples import make_samples
from nfszbx.sinks.prometheus import PrometheusSink, listen
from nfszbx.sinks.zabbix import ZabbixDocuments
from nfszbx.spool import Spool, SpoolLimits
from nfszbx.traffic import Direction, Service, Slot
from tests.kernel_model import KernelModel
from tests.network import free_port
from tests.soaking import WELL, open_pipeline, read_process_bytes

RESULTS = Path(__file__).parent / "results" / "clients.json"
CLIENTS = (10, 100, 1_000, 10_000, 100_000)
DUMPS = 7
INTERVAL_SECONDS = 10
ZABBIX_MAX_CLIENTS = 10_000
BEGIN_UNIX_SECONDS = 1_800_000_000
END_UNIX_SECONDS = BEGIN_UNIX_SECONDS + DUMPS * INTERVAL_SECONDS
SLOTS = tuple(Slot(Service.NFSD, direction) for direction in Direction)


class Result(TypedDict):
    """Of one number of clients and of rows."""

    clients: int
    rows: int
    first_seconds: float
    """Of the first dump, by the clock on the wall."""
    wall_seconds: float
    cpu_seconds: float
    stages: dict[str, float]
    """Processor seconds."""
    peak_bytes: int
    """Of memory, beyond what the process has before the first dump."""
    dump_bytes: int
    exposition_bytes: int
    zabbix_bytes: int
    counters_file_bytes: int


class Stopwatch:
    """Seconds by stage, one figure for each dump: on the wall, and of the processor."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Of what is done inside."""
        wall, processor = time.perf_counter(), time.process_time()
        yield
        spent = time.perf_counter() - wall, time.process_time() - processor
        self.seconds[stage].append(spent)

    def sum_dumps(self) -> list[tuple[float, float]]:
        """Of all stages, dump by dump."""
        dumps = zip(*self.seconds.values(), strict=True)
        return [(sum(wall for wall, _ in dump), sum(cpu for _, cpu in dump)) for dump in dumps]


def write_dumps(path: Path, clients: int) -> None:
    """What bpftrace would print."""
    luck = random.Random(1)  # noqa: S311  figures that compress as badly as real ones
    kernel = KernelModel(3 * clients, INTERVAL_SECONDS)
    with path.open("w", encoding="utf-8") as file:
        for _ in range(DUMPS):
            for slot in SLOTS:
                for client in range(clients):
                    kernel.flow(slot, client, luck.randrange(1, 10**9))
            for line in kernel.end_interval():
                print(line, file=file)


def read_dump(reader: DumpReader, lines: Iterator[str]) -> Dump:
    """The next one."""
    while not isinstance(dump := reader.read_line(next(lines)), Dump):
        pass
    return dump


def make_health(plan: Plan, now: float) -> Health:
    """Of a run that is well."""
    return Health(
        plan,
        child=WELL,
        restarts={},
        intervals=1,
        incomplete_intervals=0,
        refused_dumps=0,
        lost_events=0,
        missed_runs=0,
        last_dump_unix_seconds=now,
        drift={},
        audits=0,
        gaps=0,
        gap_seconds=0.0,
        recovered_bytes={},
        state_kept=True,
        sinks=SinksHealth(),
    )


def run(clients: int, rows: int, path: Path) -> Result:
    """All stages, dump after dump, in this process."""
    plan = open_pipeline(rows, 1_048_576).plan
    reader, counters, watch = DumpReader("little"), Counters(rows, CLIENT_IDLE_SECONDS), Stopwatch()
    zabbix = ZabbixConfig(
        max_clients=min(rows, ZABBIX_MAX_CLIENTS), clients_interval_seconds=INTERVAL_SECONDS
    )
    limits = SpoolLimits(500_000_000, 86_400, 300)
    folder, port = path.parent, free_port()
    exposition_bytes = zabbix_bytes = 0
    with (
        path.open(encoding="utf-8") as lines,
        closing(PrometheusSink(listen(PrometheusConfig(port=port)))) as prometheus,
        closing(CounterStore(folder / "counters.sqlite3", "boot")) as store,
        closing(ZabbixDocuments(zabbix, folder)) as documents,
        closing(Spool(folder / "spool.sqlite3", ["zabbix"], limits)) as spool,
    ):
        gc.collect()
        idle_bytes = read_process_bytes()
        for now in range(BEGIN_UNIX_SECONDS, END_UNIX_SECONDS, INTERVAL_SECONDS):
            with watch.measure("dump"):
                dump = read_dump(reader, lines)
            with watch.measure("counters"):
                delta = counters.advance(dump)
            assert delta is not None
            assert sum(map(len, delta.clients.values())) == 2 * clients
            assert len(delta.rows) == 2 * (min(clients, rows) + 1)
            with watch.measure("samples"):
                health = make_health(plan, now)
                samples = make_samples(delta, health, now, measured=True, timed=True)
            with watch.measure("counters on disk"):
                store.deliver(samples)
            with watch.measure("prometheus"):
                prometheus.deliver(samples)
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                    exposition_bytes = len(answer.read())
            with watch.measure("zabbix"):
                entries = documents.make_entries(samples)
                documents.keep(samples)
            with watch.measure("spool"):
                spool.append(entries)
            assert len(entries) == 2
            zabbix_bytes = sum(len(entry.text) for entry in entries)
        peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - idle_bytes
    first, *others = watch.sum_dumps()
    return Result(
        clients=clients,
        rows=rows,
        first_seconds=first[0],
        wall_seconds=median(wall for wall, _ in others),
        cpu_seconds=median(cpu for _, cpu in others),
        stages={s: median(cpu for _, cpu in found[1:]) for s, found in watch.seconds.items()},
        peak_bytes=peak_bytes,
        dump_bytes=path.stat().st_size // DUMPS,
        exposition_bytes=exposition_bytes,
        zabbix_bytes=zabbix_bytes,
        counters_file_bytes=(folder / "counters.sqlite3").stat().st_size,
    )


def measure(clients: int, rows: int) -> Result:
    """In a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dumps.jsonl"
        write_dumps(path, clients)
        command = [sys.executable, "-m", "benchmarks.clients", str(clients), str(rows), str(path)]
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        result: Result = json.loads(answer.stdout)
        return result


def make_table(path: Path) -> str:
    """Of all results, in Markdown, with what each client costs."""
    results: list[Result] = json.loads(path.read_text(encoding="utf-8"))["results"]
    stages = list(results[0]["stages"])
    head = ("clients", "rows", "first dump", "later ones", "processor", *stages)
    lines = [f"| {' | '.join(head)} | per client | memory | per client |"]
    lines.append("|---:" * (len(head) + 3) + "|")
    for one in results:
        clients = one["clients"]
        seconds = [one["first_seconds"], one["wall_seconds"], one["cpu_seconds"]]
        seconds += [one["stages"][stage] for stage in stages]
        lines.append(
            f"| {clients:,} | {one['rows']:,} | {' | '.join(map(_show, seconds))} "
            f"| {one['cpu_seconds'] / clients * 1e6:.0f} µs | {one['peak_bytes'] / 1e6:.0f} MB "
            f"| {one['peak_bytes'] / clients / 1e3:.1f} kB |"
        )
    head = ("clients", "rows", "dump", "Prometheus", "Zabbix", "counters on disk")
    lines += ["", f"| {' | '.join(head)} |", "|---:" * len(head) + "|"]
    for one in results:
        sizes = (
            one["dump_bytes"],
            one["exposition_bytes"],
            one["zabbix_bytes"],
            one["counters_file_bytes"],
        )
        cells = " | ".join(f"{size / 1e3:,.0f} kB" for size in sizes)
        lines.append(f"| {one['clients']:,} | {one['rows']:,} | {cells} |")
    return "\n".join(lines)


def _show(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{seconds * 1000:.1f} ms"


def main() -> None:
    """All of them, or in a process of its own one."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if len(sys.argv) > 1:
        print(json.dumps(run(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))))
        return
    results = [measure(clients, clients) for clients in CLIENTS]
    results.append(measure(CLIENTS[-1], Config().max_clients))
    about = {"python": platform.python_version(), "dumps": DUMPS}
    RESULTS.write_text(json.dumps({**about, "results": results}, indent=1) + "\n", encoding="utf-8")
    print(make_table(RESULTS))


if __name__ == "__main__":
    main()

"""Months of measuring in minutes: a modelled kernel, the whole pipeline and every sink.

What comes out is compared with what really flowed, at every interval and to the byte.
"""

import dataclasses
import gc
import json
import random
import sys
import urllib.request
from array import array
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import NamedTuple, Self
from unittest import mock

from nfszbx.child.states import ChildState
from nfszbx.config import CLIENT_IDLE_SECONDS, Config, PrometheusConfig, ZabbixConfig
from nfszbx.counter_store import CounterStore
from nfszbx.counters import Delta
from nfszbx.health import ChildHealth
from nfszbx.kernel.facts import facts_from_json
from nfszbx.pipeline import Pipeline
from nfszbx.plan import make_plan
from nfszbx.samples import Samples
from nfszbx.sinks.prometheus import PrometheusSink, listen
from nfszbx.sinks.zabbix import ZabbixDocuments
from nfszbx.spool import Spool, SpoolLimits
from nfszbx.traffic import OTHER, Direction, Service, Slot
from nfszbx.zabbix_keys import CLIENTS_KEY
from tests.kernel_model import KernelModel, address_of
from tests.network import free_port

FACTS = Path(__file__).parent / "fixtures" / "facts" / "no-kprobes-6.18.json"
SLOTS = tuple(Slot(Service.NFSD, direction) for direction in Direction)
BEGIN_UNIX_SECONDS = 1_800_000_000
WELL = ChildHealth(is_up=True, state=ChildState.DELIVERING, is_crash_loop=False)
CONSUMER = "zabbix 192.0.2.1:10051"


class Flowed(NamedTuple):
    """Bytes of an interval."""

    slot: Slot
    client: int
    moved_bytes: int
    had_room: bool
    """In the kernel's map."""


def open_pipeline(
    max_clients: int, map_max_entries: int, client_idle_seconds: float = CLIENT_IDLE_SECONDS
) -> Pipeline:
    """Of a recorded machine; its map may be smaller than can be configured."""
    plan = make_plan(facts_from_json(FACTS.read_text(encoding="utf-8"), "fixture"), Config())
    plan = dataclasses.replace(plan, map_max_entries=map_max_entries)
    return Pipeline(plan, max_clients, client_idle_seconds, ("exited",))


@dataclass(frozen=True)
class Shape:
    """What flows, and what may be remembered of it."""

    intervals: int
    interval_seconds: int
    clients: int
    """Different addresses."""
    active: int
    """Of them at once: their window moves over all of them."""
    passes: int
    """How often the window does so: in the later ones, clients come back."""
    flows: int
    """Clients that move something in an interval."""
    map_max_entries: int
    max_clients: int
    client_idle_seconds: int
    show_every: int = 1
    """The sinks get every so manieth interval."""
    zabbix_max_clients: int = 1000
    zabbix_retention_days: int = 7
    spool_max_bytes: int = 2_000_000
    down: range = range(0)
    """Intervals in which the Zabbix server is down."""


class Figures(NamedTuple):
    """Sizes in bytes at one moment."""

    state: int
    """Of all objects that pipeline and sinks hold."""
    process: int
    """What of the process is in memory."""
    exposition: int
    totals_document: int
    clients_document: int
    roster_file: int
    counters_file: int
    spool_file: int


class Soak:
    """``with Soak(directory, shape) as soak: soak.run()``."""

    def __init__(self, directory: Path, shape: Shape) -> None:
        self.shape = shape
        self.kernel = KernelModel(shape.map_max_entries, shape.interval_seconds)
        self.pipeline = open_pipeline(
            shape.max_clients, shape.map_max_entries, shape.client_idle_seconds
        )
        self.figures: list[Figures] = []
        self.appended = self.taken = self.began_anew = self.left = 0
        self._directory = directory
        self._random = random.Random(1)  # noqa: S311  the same in every run
        self._other: Counter[Slot] = Counter()
        self._rows = {slot: array("q", bytes(8 * shape.clients)) for slot in SLOTS}
        """By client: bytes while it had a row, since its counter began."""
        self._zabbix: dict[tuple[str, str], int] = {}
        """The counters in the last document of clients."""
        self._zabbix_bytes = 0
        self._shown: frozenset[str] = frozenset()
        self._active: dict[str, int] = {}
        """The number of the interval in which a client last moved something."""
        self._sizes = {"totals": 0, "clients": 0}
        self._unix_seconds = float(BEGIN_UNIX_SECONDS)

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            self._port = free_port()
            self.prometheus = PrometheusSink(listen(PrometheusConfig(port=self._port)))
            opened.callback(self.prometheus.close)
            self.store = CounterStore(self._directory / "counters.sqlite3", "boot")
            opened.callback(self.store.close)
            zabbix = ZabbixConfig(
                max_clients=self.shape.zabbix_max_clients,
                clients_interval_seconds=60,
                client_retention_days=self.shape.zabbix_retention_days,
            )
            self.documents = ZabbixDocuments(zabbix, self._directory)
            opened.callback(self.documents.close)
            # The spool's time passes with the intervals.
            clock = mock.patch("nfszbx.spool.monotonic_seconds", self._read_clock)
            opened.enter_context(clock)
            limits = SpoolLimits(self.shape.spool_max_bytes, 86_400, 0)
            self.spool = Spool(self._directory / "spool.sqlite3", [CONSUMER], limits)
            opened.callback(self.spool.close)
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def _read_clock(self) -> float:
        return self._unix_seconds

    def run(self, measure_every: int, tell: Callable[[int, Figures], None] | None = None) -> None:
        """All intervals, and the figures after every so many of them."""
        for number in range(self.shape.intervals):
            self._interval(number)
            if (number + 1) % measure_every == 0:
                self.figures.append(self._measure())
                if tell:
                    tell(number + 1, self.figures[-1])

    def _interval(self, number: int) -> None:
        flowed = self._let_flow(number)
        self._unix_seconds = BEGIN_UNIX_SECONDS + (number + 1) * self.shape.interval_seconds
        done = [
            self.pipeline.take_line(line, self._unix_seconds) for line in self.kernel.end_interval()
        ]
        assert done.count(True) == 1
        delta = self.pipeline._delta  # noqa: SLF001  every interval is checked, shown or not
        assert delta is not None
        self._check_clients(number, delta, flowed)
        self._check_bytes(delta, flowed)
        if (number + 1) % self.shape.show_every == 0:
            samples = self.pipeline.make_samples(self._unix_seconds, measured=True, child=WELL)
            self._show(samples, flowed, is_down=number in self.shape.down)

    def _let_flow(self, number: int) -> list[Flowed]:
        shape = self.shape
        first = number * shape.passes * shape.clients // shape.intervals
        window = range(first, first + shape.active)
        flowed = []
        for place in (first, *self._random.sample(window[1:], shape.flows - 1)):
            client = place % shape.clients
            for slot in SLOTS:
                count = self._random.randrange(1, 1 << 24)
                had_room = self.kernel.flow(slot, client, count)
                flowed.append(Flowed(slot, client, count, had_room))
        return flowed

    def _check_clients(self, number: int, delta: Delta, flowed: list[Flowed]) -> None:
        """Who has a row: those that were active lately, all of them where there is room."""
        shown = frozenset(client for _, client in delta.rows) - {OTHER}
        self.left += len(self._shown - shown)
        self._shown = shown
        self._active |= {
            address_of(client): number for _, client, _, had_room in flowed if had_room
        }
        oldest = number - self.shape.client_idle_seconds // self.shape.interval_seconds
        self._active = {one: when for one, when in self._active.items() if when >= oldest}
        assert len(shown) <= self.shape.max_clients
        if len(self._active) <= self.shape.max_clients:
            assert shown == self._active.keys()
        else:
            assert shown <= self._active.keys()

    def _check_bytes(self, delta: Delta, flowed: list[Flowed]) -> None:
        """Totals, ``other`` and every row that has moved are right to the byte."""
        sums: Counter[Slot] = Counter()
        for (slot, _), row in delta.rows.items():
            sums[slot] += row.interval
        for slot in SLOTS:
            assert delta.totals[slot] == (sums[slot], self.kernel.totals[slot])
        for slot, client, count, had_room in flowed:
            if not had_room or (address := address_of(client)) not in self._shown:
                self._other[slot] += count
                continue
            total = delta.rows[slot, address].total
            if total == count:  # new, or forgotten
                self.began_anew += self._rows[slot][client] > 0
                self._rows[slot][client] = 0
            self._rows[slot][client] += count
            assert self._rows[slot][client] == total
        for slot in SLOTS:
            assert delta.rows[slot, OTHER].total == self._other[slot]

    def _show(self, samples: Samples, flowed: list[Flowed], *, is_down: bool) -> None:
        self.prometheus.deliver(samples)
        self.store.deliver(samples)
        entries = self.documents.make_entries(samples)
        self.documents.keep(samples)
        self.spool.append(entries)
        self.appended += len(entries)
        for entry in entries:
            is_clients = entry.topic == CLIENTS_KEY
            self._sizes["clients" if is_clients else "totals"] = len(entry.text)
            if is_clients and self.shape.show_every == 1:
                self._check_document(json.loads(entry.text)["clients"], flowed)
        while not is_down and (waiting := self.spool.find_waiting(CONSUMER, 200)):
            self.spool.note_taken(CONSUMER, [found.id for found in waiting])
            self.taken += len(waiting)
        left = self.spool.count_waiting(CONSUMER) + self.spool.count_dropped(CONSUMER)
        assert self.appended == self.taken + left

    def _check_document(self, rows: list[dict[str, str | int]], flowed: list[Flowed]) -> None:
        """What Zabbix is shown grows by what has flowed, whoever joins or leaves its roster.

        A row that was not in the document before may have begun anew, or may count on.
        """
        moved = {
            (address_of(client), slot.direction): count
            for slot, client, count, had_room in flowed
            if had_room
        }
        clients = [row for row in rows if row["client"] != OTHER]
        assert len(clients) <= self.shape.zabbix_max_clients
        before, self._zabbix = self._zabbix, {}
        for row in rows:
            client = str(row["client"])
            for direction in Direction:
                key, total = (str(row["id"]), direction), row[f"{direction}_bytes_total"]
                assert isinstance(total, int)
                is_new = client != OTHER and key not in before
                grown = moved.get((client, direction), 0) if is_new else total - before.get(key, 0)
                assert 0 <= grown <= total
                self._zabbix_bytes += grown
                self._zabbix[key] = total
        assert self._zabbix_bytes == self.kernel.totals.total()

    def _measure(self) -> Figures:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=60) as page:
            exposition = len(page.read())
        spool = [self._directory / f"spool.sqlite3{end}" for end in ("", "-wal")]
        counters = [self._directory / f"counters.sqlite3{end}" for end in ("", "-wal")]
        roots = (self.pipeline, self.prometheus, self.store, self.documents, self.spool)
        return Figures(
            count_reachable_bytes(roots),
            read_process_bytes(),
            exposition,
            self._sizes["totals"],
            self._sizes["clients"],
            (self._directory / "clients.json").stat().st_size,
            sum(path.stat().st_size for path in counters),
            sum(path.stat().st_size for path in spool),
        )


def read_process_bytes() -> int:
    """What of this process is in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def count_reachable_bytes(roots: Iterable[object]) -> int:
    """Of all objects that these hold, also by way of others; code is left out."""
    code = (type, ModuleType, FunctionType, BuiltinFunctionType)
    seen: set[int] = set()
    found: list[object] = [roots]
    size = 0
    while found:
        one = found.pop()
        if id(one) not in seen and not isinstance(one, code):
            seen.add(id(one))
            size += sys.getsizeof(one)
            found.extend(gc.get_referents(one))
    return size

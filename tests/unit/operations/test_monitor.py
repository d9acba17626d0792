"""The bpftrace of NFS operations comes and goes with nfsd, and is in the way of nothing else."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nfszbx import catalog_operations as catalog
from nfszbx.child.supervisor import RENEWAL_SECONDS
from nfszbx.config import Config
from nfszbx.kernel.facts import KernelFacts, facts_from_json
from nfszbx.metric import Metric
from nfszbx.operations import monitor as monitor_module
from nfszbx.operations.monitor import (
    GRACE_SECONDS,
    RETRY_SECONDS,
    WATCH_SECONDS,
    OperationsMonitor,
)
from nfszbx.operations.pipeline import OperationsPipeline
from nfszbx.samples import Sample
from tests.processes import write_program

FIXTURES = Path(__file__).parents[2] / "fixtures"
STREAM = FIXTURES / "operations/linux-6.12-bpftrace-0.23.jsonl"
LIMIT_SECONDS = 100.0


class Server:
    """A machine with nfsd, and a bpftrace that prints what a real one has printed."""

    def __init__(self, path: Path) -> None:
        text = (FIXTURES / "facts/debian13-6.12.json").read_text()
        self._facts = facts_from_json(text, "6.12")
        self.path = path
        self.threads = 0
        self.prints = True
        self.seconds = 1000.0
        # Later with each start: no two children have begun at the same time.
        self._prints = f"""
            entries=$BPFTRACE_MAX_MAP_KEYS$BPFTRACE_MAP_KEYS_MAX
            echo $entries >>{path}.starts
            [ $entries -le $(cat {path}.most) ] || exit 1
            sed -E "s/nfszbx (begin|end|last) /&$(wc -l <{path}.starts)/" {STREAM}
        """
        self.then = "exec sleep 60"
        self.processes = {Path("/proc/7")}
        self.most_entries = 1_000_000

    @property
    def entries(self) -> list[int]:
        """Of the maps of each bpftrace that was started."""
        starts = Path(f"{self.path}.starts")
        return [int(line) for line in starts.read_text().split()] if starts.exists() else []

    @property
    def starts(self) -> int:
        return len(self.entries)

    def wait_until(self, condition: Callable[[], bool], monitor: OperationsMonitor) -> None:
        deadline = time.monotonic() + LIMIT_SECONDS
        while not condition():
            assert time.monotonic() < deadline
            monitor.poll()
            time.sleep(0.02)

    @property
    def facts(self) -> KernelFacts:
        Path(f"{self.path}.most").write_text(str(self.most_entries))
        program = write_program(self.path, f"{self._prints if self.prints else ''}\n{self.then}")
        return replace(self._facts, bpftrace=replace(self._facts.bpftrace, path=program))

    def wait_until_watched(self) -> None:
        self.seconds += WATCH_SECONDS


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server(tmp_path / "bpftrace")
    monkeypatch.setattr(monitor_module, "read_nfsd_threads", lambda _: server.threads)
    monkeypatch.setattr(monitor_module, "read_nfs_facts", lambda _: server.facts)
    monkeypatch.setattr(monitor_module, "find_processes", lambda *_: server.processes)
    monkeypatch.setattr(monitor_module, "monotonic_seconds", lambda: server.seconds)
    return server


@pytest.fixture
def make_monitor(server: Server) -> Iterator[Callable[..., OperationsMonitor]]:
    made = []

    def make(**settings: object) -> OperationsMonitor:
        config = Config.model_validate({"operations": settings})
        made.append(OperationsMonitor(config, server.facts))
        return made[-1]

    yield make
    for each in made:
        each.stop()


def wait_for_news(
    monitor: OperationsMonitor, enough: Callable[[tuple[Sample, ...]], object]
) -> tuple[Sample, ...]:
    deadline = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < deadline:
        monitor.poll()
        news = monitor.take_news()
        if news is not None and enough(news):
            return news
        time.sleep(0.02)
    raise AssertionError("nothing comes")


def total(samples: tuple[Sample, ...], metric: Metric) -> float:
    return sum(sample.value for sample in samples if sample.metric is metric)


def is_up(samples: tuple[Sample, ...]) -> bool:
    return total(samples, catalog.OPERATIONS_UP) == 1


def test_threads_are_those_there_are_at_the_dump(
    make_monitor: Callable[..., OperationsMonitor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not those that were there when nfsd was looked for."""
    answers = iter((8,))
    monkeypatch.setattr(monitor_module, "read_nfsd_threads", lambda _: next(answers, 5))
    assert total(wait_for_news(make_monitor(), is_up), catalog.THREADS) == 5


def test_operations_are_told_while_nfsd_runs(
    server: Server, make_monitor: Callable[..., OperationsMonitor]
) -> None:
    """nfsd may come after nfszbx; when it has been gone for long, so has bpftrace."""
    monitor = make_monitor()
    monitor.poll()
    assert monitor.take_news() is None
    server.threads = 8
    monitor.poll()
    assert monitor.take_news() is None  # until it is looked for again
    server.wait_until_watched()
    news = wait_for_news(monitor, is_up)
    assert total(news, catalog.OPERATIONS) > 0
    assert total(news, catalog.THREADS) == 8
    server.threads = 0
    server.wait_until_watched()
    monitor.poll()
    paused = monitor.take_news()
    assert paused is not None
    assert is_up(paused)  # nfsd may be started again
    assert total(paused, catalog.THREADS) == 0
    server.seconds += GRACE_SECONDS
    monitor.poll()
    last = monitor.take_news()
    assert last is not None
    assert not is_up(last)
    assert total(last, catalog.OPERATIONS) >= total(news, catalog.OPERATIONS)
    server.threads = 4
    server.wait_until_watched()
    monitor.poll()
    assert monitor.take_news() is None  # it is not known yet
    again = wait_for_news(monitor, is_up)
    assert total(again, catalog.THREADS) == 4


def test_child_that_ends_is_started_again_and_counters_go_on(
    server: Server, make_monitor: Callable[..., OperationsMonitor]
) -> None:
    server.threads = 8
    server.then = "sleep 1; exit 1"
    monitor = make_monitor()
    first = wait_for_news(monitor, is_up)
    assert not is_up(wait_for_news(monitor, lambda news: not is_up(news)))
    again = wait_for_news(monitor, is_up)
    assert total(again, catalog.OPERATIONS) >= total(first, catalog.OPERATIONS)


@pytest.mark.parametrize(("version", "starts"), [((0, 17, 0), 2), ((0, 23, 2), 1)])
def test_machine_that_was_suspended(
    server: Server,
    make_monitor: Callable[..., OperationsMonitor],
    monkeypatch: pytest.MonkeyPatch,
    version: tuple[int, int, int],
    starts: int,
) -> None:
    """Where bpftrace's only clock counts the time asleep, it has to be set anew."""
    facts = replace(server.facts, bpftrace=replace(server.facts.bpftrace, version=version))
    monkeypatch.setattr(monitor_module, "read_nfs_facts", lambda _: facts)
    slept = [5_000_000_000]
    monkeypatch.setattr(monitor_module, "slept_ns", lambda: slept[0])
    server.threads = 8
    monitor = make_monitor()
    first = wait_for_news(monitor, is_up)
    slept[0] += 4_000_000_000
    server.wait_until(lambda: server.starts == starts, monitor)
    again = wait_for_news(monitor, is_up) if starts > 1 else first
    server.wait_until_watched()
    monitor.poll()
    assert server.starts == starts
    assert total(again, catalog.OPERATIONS) >= total(first, catalog.OPERATIONS)


@pytest.mark.parametrize("again", ["seen", "unseen", "later"])
def test_bpftrace_that_never_works_is_given_up_until_nfsd_comes_again(
    again: str,
    server: Server,
    make_monitor: Callable[..., OperationsMonitor],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("nfszbx.child.supervisor.MAX_FAILURES_AT_FIRST", 2)
    server.threads = 8
    server.prints, server.then = False, "echo ERROR: no luck >&2; exit 3"
    monitor = make_monitor()
    assert not is_up(wait_for_news(monitor, lambda _: "are not counted" in caplog.text))
    server.prints, server.then = True, "exec sleep 60"
    server.wait_until_watched()
    monitor.poll()
    assert monitor.take_news() is None
    if again == "later":
        server.seconds += RETRY_SECONDS
    elif again == "seen":
        server.threads = 0
        server.wait_until_watched()
        monitor.poll()
        server.threads = 8
        server.wait_until_watched()
    else:
        server.processes = {Path("/proc/11"), Path("/proc/12")}
        server.wait_until_watched()
    wait_for_news(monitor, is_up)


def test_settings_are_changed_while_it_runs(
    server: Server, make_monitor: Callable[..., OperationsMonitor]
) -> None:
    """Without a label its text is empty; nothing is said of it while it begins anew."""
    server.threads = 8
    monitor = make_monitor()
    news = wait_for_news(monitor, is_up)
    assert {s.labels[2] for s in news if s.metric is catalog.OPERATIONS} != {""}
    monitor.change_config(Config.model_validate({"operations": {"labels": ["operation"]}}))
    told = []

    def is_of_others(news: tuple[Sample, ...]) -> bool:
        told.append(is_up(news))
        return {s.labels[2:] for s in news if s.metric is catalog.OPERATIONS} == {("", "", "")}

    wait_for_news(monitor, is_of_others)
    assert all(told)


def test_bpftrace_that_has_worked_is_not_given_up_after_a_change(
    server: Server,
    make_monitor: Callable[..., OperationsMonitor],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its ends before and after are one history."""
    monkeypatch.setattr("nfszbx.child.supervisor.MAX_FAILURES_AT_FIRST", 2)
    server.threads = 8
    monitor = make_monitor()
    wait_for_news(monitor, is_up)
    server.prints, server.then = False, f"echo 1 >>{server.path}.starts; exit 3"
    monitor.change_config(Config.model_validate({"operations": {"labels": ["client"]}}))
    server.wait_until(lambda: server.starts == 5, monitor)
    assert "are not counted" not in caplog.text


@pytest.mark.parametrize(
    "off", [{"operations": {"enabled": False}}, {"services": {"nfsd": {"enabled": False}}}]
)
def test_switched_off_all_is_taken_back_once(
    off: dict[str, object], server: Server, make_monitor: Callable[..., OperationsMonitor]
) -> None:
    server.threads = 8
    monitor = make_monitor()
    before = wait_for_news(monitor, is_up)
    monitor.change_config(Config.model_validate(off))
    wait_for_news(monitor, lambda news: news == ())
    server.threads = 4
    for _ in range(3):
        server.wait_until_watched()
        monitor.poll()
        assert monitor.take_news() is None
    monitor.change_config(Config())
    after = wait_for_news(monitor, is_up)
    assert total(after, catalog.OPERATIONS) >= total(before, catalog.OPERATIONS)


def test_bpftrace_goes_on_when_nothing_that_it_counts_has_changed(
    server: Server, make_monitor: Callable[..., OperationsMonitor]
) -> None:
    server.threads = 8
    monitor = make_monitor()
    wait_for_news(monitor, is_up)
    for settings in ({"client_idle_seconds": 60}, {"smb": {"shares": True}}, {"max_clients": 1}):
        monitor.change_config(Config.model_validate({**settings, "operations": {"max_rows": 1}}))
        server.wait_until_watched()
        monitor.poll()
    assert server.starts == 1
    monitor.change_config(Config.model_validate({"interval_seconds": 90}))
    wait_for_news(monitor, is_up)
    server.wait_until(lambda: server.starts == 2, monitor)


def test_what_nobody_has_taken_yet_is_not_lost(
    server: Server, make_monitor: Callable[..., OperationsMonitor]
) -> None:
    """Its rates are told by nothing else; that the child has ended since is told with it."""
    server.threads = 8
    server.then = "sleep 0.2; exit 1"
    monitor = make_monitor()
    server.wait_until(lambda: server.starts == 2, monitor)
    news = monitor.take_news()
    assert news is not None
    assert total(news, catalog.OPERATION_RATE) > 0
    assert not is_up(news)


def test_full_maps_get_twice_as_many_entries(
    server: Server,
    make_monitor: Callable[..., OperationsMonitor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At most what is set, and what the kernel has memory for; nothing says that it is down."""
    monkeypatch.setattr(OperationsPipeline, "is_map_nearly_full", property(lambda _: True))
    server.threads = 8
    monitor = make_monitor(map_max_entries=100_000)
    started: dict[int, float] = {}
    told: list[tuple[Sample, ...]] = []

    def has_started(times: int) -> bool:
        started.setdefault(server.starts, server.seconds)
        told.extend(filter(None, [monitor.take_news()]))
        server.wait_until_watched()
        return server.starts == times

    server.wait_until(lambda: has_started(4), monitor)
    assert server.entries == [32_768, 65_536, 100_000, 100_000]
    assert started[4] - started[3] >= RENEWAL_SECONDS
    assert told
    assert all(is_up(news) for news in told)
    assert {total(news, catalog.OPERATIONS_MAP_MAX_ENTRIES) for news in told} == {100_000}


def test_maps_that_the_kernel_has_no_memory_for_become_small_again(
    server: Server,
    make_monitor: Callable[..., OperationsMonitor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(OperationsPipeline, "is_map_nearly_full", property(lambda _: True))
    server.threads = 8
    server.most_entries = 40_000
    monitor = make_monitor()
    told: list[tuple[Sample, ...]] = []

    def has_started(times: int) -> bool:
        told.extend(filter(None, [monitor.take_news()]))
        server.wait_until_watched()
        return server.starts == times

    server.wait_until(lambda: has_started(3), monitor)
    assert server.entries == [32_768, 65_536, 32_768]
    assert not all(is_up(news) for news in told)
    last = wait_for_news(monitor, is_up)
    assert total(last, catalog.OPERATIONS_MAP_MAX_ENTRIES) == 32_768
    server.wait_until(lambda: has_started(4), monitor)
    assert server.entries[-1] == 32_768

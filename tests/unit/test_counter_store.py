"""Counters go on where an earlier run has left off, in the same boot."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from nfszbx import catalog, counter_store
from nfszbx.counter_store import CounterStore, read_boot_id
from nfszbx.counters import SavedCounters
from nfszbx.errors import SinkRefusedError
from nfszbx.samples import Sample, Samples
from nfszbx.traffic import OTHER, Direction, Service, Slot, Transport

RECEIVE = Slot(Service.NFSD, Direction.RECEIVE)
TRANSMIT_UDP = Slot(Service.NFSD, Direction.TRANSMIT, Transport.UDP)
BOOT = "5b1e"
FILE = "counters.sqlite3"


def make_samples(
    totals: Mapping[Slot, int], rows: Mapping[tuple[Slot, str], int], unix_seconds: float = 1.0
) -> Samples:
    metrics = {
        Direction.RECEIVE: (catalog.RECEIVE_BYTES, catalog.CLIENT_RECEIVE_BYTES),
        Direction.TRANSMIT: (catalog.TRANSMIT_BYTES, catalog.CLIENT_TRANSMIT_BYTES),
    }
    samples = [Sample(catalog.CHILD_UP, (), 1)]
    samples += [Sample(metrics[slot.direction][0], slot.flow, n) for slot, n in totals.items()]
    samples += [
        Sample(metrics[slot.direction][1], (*slot.flow, client), n)
        for (slot, client), n in rows.items()
    ]
    return Samples(unix_seconds, complete=True, samples=tuple(samples))


def read(directory: Path, boot_id: str = BOOT) -> SavedCounters | None:
    store = CounterStore(directory / FILE, boot_id)
    store.close()
    return store.saved


def test_what_was_counted_is_there_again(tmp_path: Path) -> None:
    """The process is killed: nothing is closed."""
    totals = {RECEIVE: 2**60 + 1, TRANSMIT_UDP: 0}
    rows = {(RECEIVE, "2001:db8::1"): 2**60, (RECEIVE, OTHER): 1}
    store = CounterStore(tmp_path / FILE, BOOT)
    assert store.saved is None
    store.deliver(make_samples(totals, rows))
    assert read(tmp_path) == SavedCounters(totals, rows)


def test_rows_that_are_not_shown_any_more_stay(tmp_path: Path) -> None:
    store = CounterStore(tmp_path / FILE, BOOT)
    store.deliver(make_samples({RECEIVE: 3}, {(RECEIVE, "b"): 1, (RECEIVE, "a"): 2}, 1.0))
    store.deliver(make_samples({RECEIVE: 4}, {(RECEIVE, "b"): 2}, 2.0))
    store.close()
    saved = read(tmp_path)
    assert saved is not None
    assert list(saved.rows.items()) == [((RECEIVE, "a"), 2), ((RECEIVE, "b"), 2)]
    assert saved.totals == {RECEIVE: 4}


def test_second_run_writes_on(tmp_path: Path) -> None:
    for count in (1, 2):
        store = CounterStore(tmp_path / FILE, BOOT)
        store.deliver(make_samples({RECEIVE: count}, {(RECEIVE, str(count)): count}))
        store.close()
    assert read(tmp_path) == SavedCounters({RECEIVE: 2}, {(RECEIVE, "1"): 1, (RECEIVE, "2"): 2})


def test_other_boot_begins_at_zero(tmp_path: Path) -> None:
    store = CounterStore(tmp_path / FILE, "before")
    store.deliver(make_samples({RECEIVE: 5}, {(RECEIVE, "a"): 5}))
    store.close()
    after = CounterStore(tmp_path / FILE, BOOT)
    assert after.saved is None
    after.deliver(make_samples({RECEIVE: 1}, {}))
    after.close()
    assert read(tmp_path) == SavedCounters({RECEIVE: 1}, {})
    assert read(tmp_path, "before") is None


@pytest.mark.parametrize("damage", [b"garbage" * 1000, b""])
def test_damaged_file_is_set_aside(
    tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """An empty one is like none."""
    (tmp_path / FILE).write_bytes(damage)
    store = CounterStore(tmp_path / FILE, BOOT)
    assert store.saved is None
    assert ("set aside" in caplog.text) == bool(damage)
    store.deliver(make_samples({RECEIVE: 1}, {}))
    store.close()
    assert read(tmp_path) == SavedCounters({RECEIVE: 1}, {})
    if damage:
        assert (tmp_path / f"{FILE}.damaged").read_bytes() == damage


def test_damaged_file_that_cannot_be_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is kept; the measuring goes on."""
    (tmp_path / FILE).write_bytes(b"garbage" * 1000)
    (tmp_path / f"{FILE}.damaged").mkdir()
    store = CounterStore(tmp_path / FILE, BOOT)
    assert "it cannot be set aside: Is a directory" in caplog.text
    with pytest.raises(SinkRefusedError, match="cannot be written: file is not a database"):
        store.deliver(make_samples({RECEIVE: 1}, {}))
    store.close()


def test_unknown_words_are_damage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = CounterStore(tmp_path / FILE, BOOT)
    odd = Sample(catalog.RECEIVE_BYTES, ("ftpd", "tcp"), 1)
    store.deliver(Samples(1.0, complete=True, samples=(odd,)))
    store.close()
    assert read(tmp_path) is None
    assert "'ftpd' is not a valid Service" in caplog.text


def test_directory_that_comes_later(tmp_path: Path) -> None:
    """It may hold counters of an earlier run, which this one has not gone on from."""
    directory = tmp_path / "later"
    store = CounterStore(directory / FILE, BOOT)
    with pytest.raises(SinkRefusedError, match=r"not kept: .* cannot be written: unable to open"):
        store.deliver(make_samples({RECEIVE: 1}, {}))
    directory.mkdir()
    earlier = CounterStore(directory / FILE, BOOT)
    earlier.deliver(make_samples({RECEIVE: 9}, {(RECEIVE, "a"): 9}))
    earlier.close()
    store.deliver(make_samples({RECEIVE: 2}, {}))
    store.close()
    assert read(directory) == SavedCounters({RECEIVE: 2}, {})


def test_file_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that have been idle for longest are forgotten, totals never."""
    monkeypatch.setattr(counter_store, "MAX_REMEMBERED", 10)
    store = CounterStore(tmp_path / FILE, BOOT)
    for number in range(1000):
        rows = {(RECEIVE, f"client {number}"): number}
        store.deliver(make_samples({RECEIVE: number, TRANSMIT_UDP: 7}, rows, float(number)))
    connection = store._connection  # noqa: SLF001  the size is nobody else's business
    assert connection is not None
    (count,) = connection.execute("SELECT count(*) FROM counters").fetchone()
    assert count < 40
    store.close()
    saved = read(tmp_path)
    assert saved is not None
    assert saved.totals == {RECEIVE: 999, TRANSMIT_UDP: 7}
    assert (RECEIVE, "client 999") in saved.rows
    assert len(saved.rows) < 40


def test_file_is_bounded_over_many_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of them has many clients."""
    monkeypatch.setattr(counter_store, "MAX_REMEMBERED", 10)
    for number in range(100):
        store = CounterStore(tmp_path / FILE, BOOT)
        rows = {(RECEIVE, f"client {number} {part}"): 1 for part in range(3)}
        store.deliver(make_samples({RECEIVE: number}, rows, float(number)))
        store.close()
    saved = read(tmp_path)
    assert saved is not None
    assert len(saved.rows) < 20
    assert saved.totals == {RECEIVE: 99}


def test_rows_that_are_shown_are_never_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many they are, and however long they have been idle."""
    monkeypatch.setattr(counter_store, "MAX_REMEMBERED", 10)
    store = CounterStore(tmp_path / FILE, BOOT)
    idle = {(RECEIVE, f"idle {number}"): 7 for number in range(50)}
    for number in range(100):
        rows = {(RECEIVE, f"client {number}"): number}
        store.deliver(make_samples({RECEIVE: number}, idle | rows, float(number)))
    store.close()
    saved = read(tmp_path)
    assert saved is not None
    assert idle.items() <= saved.rows.items()
    assert len(saved.rows) <= 50 + 1 + 10


def test_boot_id_is_the_kernel_s() -> None:
    assert read_boot_id() == read_boot_id() != ""

"""bpftrace dies, nfszbx goes on; nfszbx ends, no bpftrace is left."""

import os
import random
import signal
import subprocess
import time
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest

from tests.live.moving import moving_data
from tests.live.running import NFSZBX, Document, NfszbxRun, client_bytes
from tests.live.samba import CLIENTS, SambaServer
from tests.processes import wait_until_gone

WITHOUT_BRAKE = "import nfszbx.child.crash_loop\nnfszbx.child.crash_loop.LOOP_ENDS = 1000\n"
"""On crash loops, or it would take half an hour."""
RARE_READINGS = """
import nfszbx.ledger
import nfszbx.observer
nfszbx.ledger.MAX_LOOKS = 3
nfszbx.observer.READING_SHARE = 1e-9
"""
"""Of the sockets, as with tens of thousands of connections."""
SETTLING_DUMPS = 4
SEGMENT_BYTES = 1448


def patched(folder: Path, patch: str) -> dict[str, str]:
    """The environment in which nfszbx runs that code of the test first."""
    (folder / "sitecustomize.py").write_text(patch, encoding="utf-8")
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(Path.cwd())])}


def assert_no_less(before: Document, after: Document) -> None:
    """No counter goes backwards; another server's client may have lost its row in a restart."""
    for service, totals in before["services"].items():
        for direction in ("receive", "transmit"):
            field = f"{direction}_bytes_total"
            assert after["services"][service][field] >= totals[field]
    counters, ours = client_bytes(after, "smbd"), CLIENTS.values()
    for key, count in client_bytes(before, "smbd").items():
        assert counters[key] >= count or key[0] not in ours


def test_killed_nfszbx_goes_on_where_it_was(samba: SambaServer, tmp_path: Path) -> None:
    """What flowed in between is missing, and said to be."""
    payload = tmp_path / "payload"
    payload.write_bytes(b"x" * 1_000_000)
    state = {"NFSZBX_STATE_DIRECTORY": str(tmp_path / "state")}
    last: Document | None = None
    with samba.connect("127.0.1.1") as client, moving_data(client, payload):
        for _ in range(3):
            with NfszbxRun(environment=state) as run:
                first = run.documents[-1]
                assert first["complete"] == (last is None)
                if last is not None:
                    assert_no_less(last, first)
                kept = run.wait_for_dump()
                last = run.wait_for_dump()
                os.kill(run.process.pid, signal.SIGKILL)
                run.process.wait()
            last = kept  # the last one may not have been written down
        truth = samba.read_socket_bytes()
    assert last is not None
    counted = client_bytes(last, "smbd")
    for direction in ("receive", "transmit"):
        assert 3_000_000 < counted["127.0.2.1", direction] <= truth["127.0.2.1", direction]


def test_second_nfszbx_counts_for_itself(tmp_path: Path) -> None:
    """Unless it is not to run beside another one, or both would send to Zabbix."""
    state = {"NFSZBX_STATE_DIRECTORY": str(tmp_path)}

    def run(*flags: str) -> subprocess.CompletedProcess[str]:
        command, environment = [*NFSZBX, "run", *flags], {**os.environ, **state}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    with NfszbxRun(environment=state) as first, NfszbxRun(environment=state) as second:
        assert second.documents[-1]["complete"]
        assert "not kept: another nfszbx uses" in "".join(second.log_lines)
        locked = run("--lock")
        zabbix = run("--sink", "zabbix")
        assert "another nfszbx" not in "".join(first.log_lines)
    assert (locked.returncode, locked.stdout, locked.stderr) == (0, "", "")
    assert zabbix.returncode == 6
    assert f"{tmp_path} is in use by another nfszbx" in zabbix.stderr


@pytest.mark.parametrize(
    ("kills", "dumps", "patch"),
    [(20, 1, ""), (5, 5, RARE_READINGS)],
    ids=["often", "between_readings"],
)
def test_killed_bpftrace_loses_nothing(
    samba: SambaServer, tmp_path: Path, kills: int, dumps: int, patch: str
) -> None:
    """Killed at random moments under three clients; their connections tell what was missed."""
    payload = tmp_path / "payload"
    payload.write_bytes(b"x" * 10_000_000)
    moments = random.Random(kills)  # noqa: S311  no secret
    environment = patched(tmp_path, WITHOUT_BRAKE + patch)
    with ExitStack() as stack:
        run = stack.enter_context(NfszbxRun(environment=environment))
        clients = [stack.enter_context(samba.connect(address)) for address in CLIENTS]
        killed = []
        with ExitStack() as moving:
            for client in clients:
                moving.enter_context(moving_data(client, payload))
            for number in range(kills):
                if number % 5:  # the others may die before their first dump
                    for _ in range(dumps):
                        run.wait_for_dump()
                time.sleep(1.5 * moments.random())
                while not (children := run.child_pids()):
                    time.sleep(0.01)
                killed += children
                os.kill(children[0], signal.SIGKILL)
                assert wait_until_gone(children[0])
        last = [run.wait_for_dump() for _ in range(SETTLING_DUMPS)][-1]
        truth = samba.read_socket_bytes()
        (survivor,) = run.child_pids()
        assert run.stop(signal.SIGTERM) == 0

    assert len(set(killed)) == kills
    assert last["health"]["child_restarts_total"]["killed"] == kills
    assert 0 < last["health"]["gaps_total"] <= kills
    assert last["health"]["gap_seconds_total"] > 0
    counted = client_bytes(last, "smbd")
    for key in ((client, d) for client in CLIENTS.values() for d in ("receive", "transmit")):
        assert 0.999 * truth[key] <= counted[key] <= truth[key] + SEGMENT_BYTES
    for before, after in pairwise(run.documents):
        assert_no_less(before, after)
    assert all(wait_until_gone(pid) for pid in [*killed, survivor])


def test_silent_child_is_replaced() -> None:
    """A bpftrace that hangs (SIGSTOP) is noticed within about three intervals and killed."""
    with NfszbxRun() as run:
        (pid,) = run.child_pids()
        os.kill(pid, signal.SIGSTOP)
        document = run.next_document()
        while not document["health"]["child_restarts_total"]["silent"]:
            assert len(run.documents) < 20
            document = run.next_document()
        run.wait_for_dump()
        assert wait_until_gone(pid)
        assert run.child_pids() != [pid]
    gaps = [d for d in run.documents if not d["complete"]]
    assert gaps
    assert all("receive_bytes_per_second" not in d["services"]["smbd"] for d in gaps[:1])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL, signal.SIGHUP])
def test_no_bpftrace_is_left(number: signal.Signals) -> None:
    """However nfszbx ends, its bpftrace ends with it."""
    with NfszbxRun() as run:
        (pid,) = run.child_pids()
        run.stop(number)
        assert wait_until_gone(pid)


def test_no_bpftrace_is_left_after_an_internal_failure(tmp_path: Path) -> None:
    """A fault in nfszbx itself, provoked here, ends bpftrace as well."""
    patch = (
        "import nfszbx.pipeline\n"
        "def fail(*a, **k): raise ZeroDivisionError('provoked')\n"
        "count = 0\n"
        "real = nfszbx.pipeline.Pipeline.make_samples\n"
        "def make(self, *a, **k):\n"
        "    global count\n"
        "    count += 1\n"
        "    return real(self, *a, **k) if count < 3 else fail()\n"
        "nfszbx.pipeline.Pipeline.make_samples = make\n"
    )
    with NfszbxRun(environment=patched(tmp_path, patch)) as run:
        (pid,) = run.child_pids()
        assert run.process.wait(30) == 1
        assert wait_until_gone(pid)
        assert any("provoked" in line for line in run.log_lines)


def test_pause_of_nfszbx_itself_does_not_cost_the_child() -> None:
    """A machine that is moved or starved: what waits to be read is read before anyone is judged."""
    with NfszbxRun() as run:
        (pid,) = run.child_pids()
        run.process.send_signal(signal.SIGSTOP)
        time.sleep(5)
        run.process.send_signal(signal.SIGCONT)
        document = run.wait_for_dump()
        assert run.child_pids() == [pid]
        assert document["health"]["child_restarts_total"]["silent"] == 0
    assert all(document["complete"] for document in run.documents)


def test_nohup_is_respected() -> None:
    """An ignored SIGHUP stays ignored."""
    with NfszbxRun(before=["nohup"]) as run:
        run.process.send_signal(signal.SIGHUP)
        run.wait_for_dump()
        run.wait_for_dump()


def test_what_flowed_just_before_the_stop_is_counted(samba: SambaServer, tmp_path: Path) -> None:
    """The last dump, which a stop asks for, has all bytes since the one before."""
    payload = tmp_path / "payload"
    payload.write_bytes(b"x" * 3_000_000)
    with NfszbxRun() as run, samba.connect("127.0.1.2") as client:
        run.wait_for_dump()
        client.start(f'put "{payload}" last')
        client.finish()
        truth = samba.read_socket_bytes()
        assert run.stop(signal.SIGTERM) == 0
        assert run.documents[-1]["complete"]
        counted = client_bytes(run.documents[-1], "smbd")
    assert counted["127.0.2.2", "receive"] >= truth["127.0.2.2", "receive"] > 3_000_000


def test_reader_that_goes_away_ends_the_run() -> None:
    """``nfszbx run | head -1`` gives the prompt back, without a word of Python's."""
    command = [*NFSZBX, "run", "--interval-seconds", "1"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline().startswith("{")
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(30) == 0
    assert "nobody reads standard output" in said
    assert "Error" not in said

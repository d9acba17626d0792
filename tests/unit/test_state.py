"""One nfszbx at a time uses a directory, and a directory that fails stops nobody."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nfszbx.errors import ConfigurationError, SinkStartError
from nfszbx.state import StateDirectory

HOLD = """
import sys, time
from pathlib import Path
from nfszbx.state import StateDirectory
StateDirectory(Path(sys.argv[1])).require(0)
print("taken", flush=True)
time.sleep(60)
"""


@contextmanager
def another_nfszbx(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has the directory, and is killed in the end."""
    command = [sys.executable, "-c", HOLD, str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            assert process.stdout.readline() == "taken\n"
            yield process
        finally:
            process.kill()


def test_second_one_is_told(tmp_path: Path) -> None:
    path = tmp_path / "new" / "state"
    with another_nfszbx(path):
        state = StateDirectory(path)
        assert not state.is_ours()
        with pytest.raises(SinkStartError, match=f"{path} is in use by another nfszbx"):
            state.require(0.3)


def test_process_that_is_killed_leaves_it(tmp_path: Path) -> None:
    """The second one may wait for that."""
    with another_nfszbx(tmp_path) as process:
        state = StateDirectory(tmp_path)
        threading.Timer(0.3, process.kill).start()
        state.require(10)
        assert state.is_ours()


@pytest.mark.parametrize("below", ["file", "file/state"])
def test_directory_that_cannot_be_used(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    state = StateDirectory(tmp_path / below)
    state.require(0)
    with pytest.raises(ConfigurationError, match=f"state_directory: {tmp_path / below} cannot"):
        state.is_ours()

"""One nfszbx at a time uses a directory, and a directory that fails stops nobody."""

import subprocess
import sys
import threading
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


def test_second_one_is_told(tmp_path: Path) -> None:
    first = StateDirectory(tmp_path / "new" / "state")
    first.require(0)
    second = StateDirectory(first.path)
    with pytest.raises(SinkStartError, match=f"{first.path} is in use by another nfszbx"):
        second.require(0.3)
    threading.Timer(0.3, first.release).start()
    second.require(10)


def test_process_that_is_killed_leaves_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "taken\n"
        assert StateDirectory(tmp_path).is_in_use
        process.kill()
    assert StateDirectory(tmp_path).is_ours()


@pytest.mark.parametrize("below", ["file", "file/state"])
def test_directory_that_cannot_be_used(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    state = StateDirectory(tmp_path / below)
    state.require(0)
    with pytest.raises(ConfigurationError, match=f"state_directory: {tmp_path / below} cannot"):
        state.is_ours()

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings

from tests.live.samba import SambaServer
from tests.requirements import require

# A test is not wrong because the machine has other things to do.
settings.register_profile(
    "unhurried", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unhurried")


@pytest.fixture(scope="session", autouse=True)
def state_directory() -> Iterator[None]:
    """What tests run leaves this machine's own counters alone.

    Others can pass through to it, as to /var/lib: tmp_path is for one user.
    """
    with TemporaryDirectory(prefix="nfszbx-state-") as folder:
        os.environ["NFSZBX_STATE_DIRECTORY"] = folder
        yield


@pytest.fixture
def state() -> Iterator[Path]:
    """The same for one test."""
    with TemporaryDirectory(prefix="nfszbx-state-") as folder:
        yield Path(folder)


def pytest_configure() -> None:
    """A session that is told to end ends its servers and virtual machines, as with Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def samba() -> Iterator[SambaServer]:
    require("bpftrace", "smbd", "smbclient", "ip", "ss")
    with SambaServer() as server:
        yield server

import os
import signal
from collections.abc import Iterator

import pytest

from tests.live.samba import SambaServer
from tests.requirements import require


@pytest.fixture(scope="session", autouse=True)
def state_directory(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What tests run leaves this machine's own counters alone."""
    os.environ["NFSZBX_STATE_DIRECTORY"] = str(tmp_path_factory.mktemp("state"))


def pytest_configure() -> None:
    """A session that is told to end ends its servers and virtual machines, as with Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def samba() -> Iterator[SambaServer]:
    require("bpftrace", "smbd", "smbclient", "ip", "ss")
    with SambaServer() as server:
        yield server

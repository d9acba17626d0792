from collections.abc import Iterator

import pytest

from tests.live.samba import SambaServer
from tests.requirements import require


@pytest.fixture(scope="session")
def samba() -> Iterator[SambaServer]:
    require("bpftrace", "smbd", "smbclient", "ip", "ss")
    with SambaServer() as server:
        yield server

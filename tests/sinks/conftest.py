from collections.abc import Iterator

import pytest

from tests.requirements import require
from tests.sinks.zabbix_server import ZabbixServer


@pytest.fixture(scope="session")
def zabbix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZabbixServer]:
    require("zabbix_server", "php", "pg_ctlcluster")
    with ZabbixServer(tmp_path_factory.mktemp("zabbix")) as server:
        yield server

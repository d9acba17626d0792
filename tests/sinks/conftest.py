from collections.abc import Iterator

import pytest

from tests.requirements import require, require_programs
from tests.sinks.certificates import Certificates, make_certificates
from tests.sinks.zabbix_programs import get_debian_12, get_debian_13
from tests.sinks.zabbix_server import ZabbixServer


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    require_programs("openssl")
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session", params=["6.0", "7.0"])
def zabbix(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    certificates: Certificates,
) -> Iterator[ZabbixServer]:
    if request.param == "6.0":
        require("zabbix_server", "php", "pg_ctlcluster")
        installation = get_debian_12()
    else:
        require_programs("mmdebstrap", "chroot")
        installation = get_debian_13()
    with ZabbixServer(tmp_path_factory.mktemp("zabbix"), installation, certificates) as server:
        yield server

"""Encrypted connections to real servers, and what is said when they do not come about."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nfszbx.zabbix_keys import TOTALS_KEY
from tests.requirements import require_psk
from tests.sinks.certificates import Certificates, make_certificates
from tests.sinks.feeder import BEGIN
from tests.sinks.test_zabbix import ITEMS, STOP_SECONDS, address, make_samples, sink
from tests.sinks.zabbix_server import ZabbixServer

KEY = "00112233445566778899aabbccddeeff"


@pytest.fixture
def psk(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Settings for a key."""
    require_psk()

    def make(identity: str, key: str = KEY) -> dict[str, str]:
        file = tmp_path / f"{key}.psk"
        file.write_text(f"{key}\n")
        return {"connect": "psk", "psk_identity": identity, "psk_file": str(file)}

    return make


def make_psk_host(zabbix: ZabbixServer, name: str) -> str:
    host_id = zabbix.create_host(name, ITEMS)
    wanted = {"tls_accept": 2, "tls_psk_identity": name, "tls_psk": KEY}
    zabbix.call("host.update", {"hostid": host_id, **wanted})
    zabbix.synchronise()
    return host_id


def certificate_settings(own: Certificates, authority: Path) -> dict[str, str]:
    return {
        "connect": "cert",
        "ca_file": str(authority),
        "cert_file": str(own.client),
        "key_file": str(own.client_key),
    }


@pytest.fixture
def expect_failure(
    zabbix: ZabbixServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> Callable[[dict[str, str], str], None]:
    """Values wait, and the log says why."""

    def expect(tls: dict[str, str], message: str) -> None:
        with sink(tmp_path, "any host", address(zabbix), tls=tls) as opened:
            opened.put(make_samples(BEGIN))
            deadline = time.monotonic() + STOP_SECONDS
            while message not in caplog.text or opened.healths()[0].queue_length != len(ITEMS):
                assert time.monotonic() < deadline, (caplog.text, opened.healths())
                time.sleep(0.05)
        assert "Traceback" not in caplog.text

    return expect


def test_pre_shared_key(
    zabbix: ZabbixServer, tmp_path: Path, psk: Callable[..., dict[str, str]]
) -> None:
    host_id = make_psk_host(zabbix, "psk host")
    with sink(tmp_path, "psk host", address(zabbix), tls=psk("psk host")) as opened:
        opened.put(make_samples(BEGIN))
        zabbix.wait_for_history(host_id, TOTALS_KEY, 1)


@pytest.mark.parametrize("wrong", [{"identity": "unknown"}, {"key": KEY[::-1]}])
def test_wrong_key_or_identity(
    zabbix: ZabbixServer,
    psk: Callable[..., dict[str, str]],
    expect_failure: Callable[[dict[str, str], str], None],
    wrong: dict[str, str],
) -> None:
    (name,) = wrong
    make_psk_host(zabbix, f"wrong {name}")
    settings = psk(**{"identity": f"wrong {name}", **wrong})
    expect_failure(settings, "the pre-shared key or its identity is not the one that a host")


def test_certificates(zabbix: ZabbixServer, tmp_path: Path, certificates: Certificates) -> None:
    host_id = zabbix.create_host("cert host", ITEMS)
    wanted = {"tls_accept": 4, "tls_subject": "CN=test client,O=nfszbx"}
    zabbix.call("host.update", {"hostid": host_id, **wanted})
    zabbix.synchronise()
    tls = certificate_settings(certificates, certificates.authority)
    tls["server_cert_subject"] = "CN=test server,O=nfszbx"
    with sink(tmp_path, "cert host", address(zabbix), tls=tls) as opened:
        opened.put(make_samples(BEGIN))
        zabbix.wait_for_history(host_id, TOTALS_KEY, 1)


def test_server_of_another_authority(
    tmp_path: Path,
    certificates: Certificates,
    expect_failure: Callable[[dict[str, str], str], None],
) -> None:
    other = make_certificates(tmp_path, "other")
    settings = certificate_settings(certificates, other.authority)
    expect_failure(settings, "TLS: the server's certificate is not valid under ca_file")


def test_client_of_another_authority(
    tmp_path: Path,
    certificates: Certificates,
    expect_failure: Callable[[dict[str, str], str], None],
) -> None:
    other = make_certificates(tmp_path, "other")
    settings = certificate_settings(other, certificates.authority)
    expect_failure(settings, "the server does not trust our certificate, or takes no certificates")


def test_server_with_another_name(
    certificates: Certificates, expect_failure: Callable[[dict[str, str], str], None]
) -> None:
    settings = certificate_settings(certificates, certificates.authority)
    settings["server_cert_issuer"] = "CN=somebody else,O=nfszbx"
    expect_failure(settings, "has the issuer 'CN=test authority,O=nfszbx'")

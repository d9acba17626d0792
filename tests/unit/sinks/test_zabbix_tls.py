"""Pre-shared keys as files have them."""

from pathlib import Path

import pytest

from nfszbx.config import ZabbixTlsConfig
from nfszbx.errors import ConfigurationError
from nfszbx.sinks.zabbix_tls import read_key


def write(path: Path, text: str, mode: int = 0o600) -> ZabbixTlsConfig:
    path.write_text(text)
    path.chmod(mode)
    return ZabbixTlsConfig(connect="psk", psk_identity="a", psk_file=str(path))


def test_key(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read_key(write(tmp_path / "psk", "00" * 15 + "ff\n")) == bytes(15) + b"\xff"
    assert not caplog.text


@pytest.mark.parametrize("text", ["", "abcd", "00" * 15, "00" * 257, "no digits" * 8, "\xe9" * 32])
def test_no_key(tmp_path: Path, text: str) -> None:
    config = write(tmp_path / "psk", text)
    with pytest.raises(ConfigurationError, match=r"psk_file: .* is no key: .* 32 to 512 hex") as e:
        read_key(config)
    assert "openssl rand" in e.value.hint


def test_no_file(tmp_path: Path) -> None:
    config = ZabbixTlsConfig(connect="psk", psk_identity="a", psk_file=str(tmp_path / "none"))
    with pytest.raises(ConfigurationError, match=r"psk_file: .* cannot be read: No such file"):
        read_key(config)


def test_key_that_everybody_can_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    read_key(write(tmp_path / "psk", "00" * 32, mode=0o644))
    assert f"zabbix.tls.psk_file: the mode of {tmp_path / 'psk'} lets every user" in caplog.text
    assert f"chmod o= {tmp_path / 'psk'}" in caplog.text

"""The agent's own file is read as the agent reads it."""

from pathlib import Path

import pytest

from nfszbx.agent_config import read_agent_config
from nfszbx.errors import ConfigurationError
from nfszbx.settings import load_config


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_everything(tmp_path: Path) -> None:
    path = write(
        tmp_path / "agent.conf",
        """\
# Hostname=not this
Server=192.0.2.0/24,192.0.2.9
ServerActive = node1:10051;node2, [2001:db8::1]:99
Hostname=file server 1,second name
SourceIP=192.0.2.4
TLSConnect=psk
TLSPSKIdentity=PSK 001
TLSPSKFile=/etc/zabbix/psk
""",
    )
    assert read_agent_config(path) == {
        ("zabbix", "servers"): ["node1:10051;node2", "[2001:db8::1]:99"],
        ("zabbix", "host"): "file server 1",
        ("zabbix", "source_address"): "192.0.2.4",
        ("zabbix", "tls", "connect"): "psk",
        ("zabbix", "tls", "psk_identity"): "PSK 001",
        ("zabbix", "tls", "psk_file"): "/etc/zabbix/psk",
    }


def test_passive_agent_s_server_is_used_but_no_network(tmp_path: Path) -> None:
    path = write(tmp_path / "agent.conf", "Server=10.0.0.0/8,zabbix.example.org\n")
    assert read_agent_config(path) == {("zabbix", "servers"): ["zabbix.example.org"]}


@pytest.mark.parametrize("include", ["{}/more.d", "{}/more.d/*.conf", "{}/more.d/b.conf"])
def test_included_files(tmp_path: Path, include: str) -> None:
    write(tmp_path / "more.d/a.txt" if "*" in include else tmp_path / "x.txt", "Hostname=wrong\n")
    write(tmp_path / "more.d/b.conf", "Hostname=right\n")
    text = f"ServerActive=z\nInclude={include.format(tmp_path)}\nInclude=/nowhere/*.conf\n"
    path = write(tmp_path / "agent.conf", text)
    assert read_agent_config(path)["zabbix", "host"] == "right"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Include=/no/such/file\n", "cannot read the agent's configuration /no/such/file"),
        ("Include=agent.conf\n", "include each other"),
    ],
)
def test_what_is_wrong_is_told(
    tmp_path: Path, text: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=message):
        read_agent_config(write(tmp_path / "agent.conf", text))


def test_without_a_server_there_is_none_among_the_settings(tmp_path: Path) -> None:
    """The user may have set one; if not, that is told with everything else that is wrong."""
    file = tmp_path / "agent.conf"
    file.write_text("Server=10.0.0.0/8\nHostname=a\n")
    assert read_agent_config(file) == {("zabbix", "host"): "a"}
    environment = {"NFSZBX_ZABBIX__AGENT_CONFIG": str(file)}
    with pytest.raises(ConfigurationError, match="names no server in ServerActive"):
        load_config(None, environment, ())
    environment["NFSZBX_ZABBIX__SERVERS"] = "zabbix.example.org"
    assert load_config(None, environment, ()).zabbix.host == "a"


def test_includes_are_found_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "more.d").mkdir()
    (tmp_path / "more.d" / "a.conf").write_text("Hostname=included\n")
    file = tmp_path / "agent.conf"
    file.write_text("Include=./more.d/*.conf\n")
    assert read_agent_config(file) == {("zabbix", "host"): "included"}

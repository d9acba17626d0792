"""Configuration from file, environment and flags; every error at once, each with its key."""

from pathlib import Path

import pytest

from nfszbx.config import Config, ZabbixTlsConfig
from nfszbx.errors import ConfigurationError
from nfszbx.settings import Flag, load_config
from nfszbx.traffic import Service


def load(text: str = "", environment: dict[str, str] | None = None, *flags: Flag) -> Config:
    path = Path("/dev/null")
    if text:
        path = Path.cwd() / "nfszbx.toml"
        path.write_text(text, encoding="utf-8")
    return load_config(path, environment or {}, flags)


def errors(text: str = "", environment: dict[str, str] | None = None, *flags: Flag) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(text, environment, *flags)
    assert caught.value.hint
    assert caught.value.exit_code == 2
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_defaults() -> None:
    config = load()
    assert config == Config()
    assert (config.interval_seconds, config.max_clients) == (10, 500)
    assert config.services.enabled()[Service.NFSD].ports == (2049,)
    assert config.services.enabled()[Service.KSMBD].ports == (445, 139)
    assert config.prometheus.address == "127.0.0.1"


def test_flags_win_over_environment_wins_over_file() -> None:
    text = "interval_seconds = 1\nmax_clients = 1\n[prometheus]\nport = 1\n"
    environment = {"NFSZBX_MAX_CLIENTS": "2", "NFSZBX_PROMETHEUS__PORT": "2", "HOME": "/root"}
    config = load(text, environment, Flag("--prometheus-port", ("prometheus", "port"), 3))
    assert (config.interval_seconds, config.max_clients, config.prometheus.port) == (1, 2, 3)


def test_environment_takes_toml_values_and_plain_text() -> None:
    config = load(
        environment={
            "NFSZBX_SERVICES__NFSD__PORTS": "[2049, 20049]",
            "NFSZBX_SERVICES__KSMBD__ENABLED": "false",
            "NFSZBX_ZABBIX__HOST": "file server 1",
            "NFSZBX_SINKS": '["zabbix", "prometheus"]',
        }
    )
    assert config.services.nfsd.ports == (2049, 20049)
    assert Service.KSMBD not in config.services.enabled()
    assert config.zabbix.host == "file server 1"
    assert config.sinks == ("zabbix", "prometheus")


def test_all_errors_are_reported_at_once_with_key_source_and_what_would_be_right() -> None:
    text = """
        interval_seconds = "10"
        max_clients = 0
        way = "magic"
        [services.nfsd]
        ports = [0, "a"]
        [services.nfds]
        [prometheus]
        adress = "::1"
    """
    found = errors(
        text,
        {"NFSZBX_PROMETHEUS__PORT": "70000", "NFSZBX_NONSENSE": "1"},
        Flag("--sink", ("sinks",), ("console", "kafka")),
    )
    file = Path.cwd() / "nfszbx.toml"
    ways = "'auto', 'function_exit', 'kprobe' or 'tracepoint'"
    known = (
        "audit_interval_seconds, bpftrace, client_idle_seconds, interval_seconds, log_level, "
        "map_max_entries, max_clients, operations, prometheus, services, sinks, smb, spool, "
        "state_directory, way, zabbix"
    )
    port = "NFSZBX_PROMETHEUS__PORT"
    assert sorted(found) == sorted(
        [
            f"interval_seconds ({file}): should be a valid integer, got '10'",
            f"max_clients ({file}): should be greater than or equal to 1, got 0",
            f"way ({file}): should be {ways}, got 'magic'",
            "sinks[1] (--sink): should be 'console', 'prometheus' or 'zabbix', got 'kafka'",
            f"services.nfsd.ports[0] ({file}): should be greater than or equal to 1, got 0",
            f"services.nfsd.ports[1] ({file}): should be a valid integer, got 'a'",
            f"services.nfds ({file}): unknown key; did you mean nfsd?",
            f"prometheus.port ({port}): should be less than or equal to 65535, got 70000",
            f"prometheus.adress ({file}): unknown key; did you mean address?",
            f"nonsense (NFSZBX_NONSENSE): unknown key; known here: {known}",
        ]
    )


INJECTION = '"; system("id"); //'


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (f"[services.smbd]\ntask_names = ['{INJECTION}']", "services.smbd.task_names[0]"),
        ("[services.smbd]\ntask_names = ['smbd\\\\']", "services.smbd.task_names[0]"),
        ("[services.smbd]\ntask_names = ['smbd\"']", "services.smbd.task_names[0]"),
        ('[services.smbd]\ntask_names = ["smbd\\n"]', "services.smbd.task_names[0]"),
        ("[services.smbd]\ntask_names = ['sixteen_letters_']", "services.smbd.task_names[0]"),
        (f"[services.'{INJECTION}']\nports = [1]", f"services.{INJECTION!r}"),
        (f"[services.smbd]\nports = ['{INJECTION}']", "services.smbd.ports[0]"),
        (f"[prometheus]\naddress = '{INJECTION}'", "prometheus.address"),
        (f"[zabbix]\nservers = ['{INJECTION}']", "zabbix.servers[0]"),
        (f"[zabbix.tls]\nca_file = '{INJECTION}'", "zabbix.tls.ca_file"),
        (f"state_directory = '{INJECTION}'", "state_directory"),
        (f"[zabbix]\nhost = '{INJECTION}'", "zabbix.host"),
        (f"bpftrace = '/bin/sh -c {INJECTION}'", "bpftrace"),
        (f"interval_seconds = '{INJECTION}'", "interval_seconds"),
    ],
)
def test_what_tries_to_inject_code_is_refused_by_its_key(text: str, key: str) -> None:
    (problem,) = errors(text)
    assert problem.startswith(f"{key} (")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("sinks = []", "sinks: no sink is named"),
        ("[services.nfsd]\nports = []", "services.nfsd.ports: no port is left"),
        ("[services.nfsd]\nports = [445]", "services.nfsd.ports: smbd has the same port: 445"),
        ("[services.ksmbd]\nany_port = true", "services.ksmbd.any_port: ksmbd answers from"),
        ("[services.ksmbd]\ntask_names = ['k']", "services.ksmbd.task_names: ksmbd works in"),
        ("[services.smbd]\ntask_names = []", "services.smbd.task_names: smbd and ksmbd share"),
        (
            "[services.nfsd]\nany_port = true\ntask_names = []",
            "services.nfsd.task_names: any_port needs",
        ),
        (
            "".join(f"[services.{service}]\nenabled = false\n" for service in Service),
            "services: every service is disabled",
        ),
    ],
)
def test_impossible_combinations(text: str, problem: str) -> None:
    assert any(line.startswith(problem) for line in errors(text))


def test_task_names_of_renamed_children_are_allowed() -> None:
    assert load("[services.smbd]\ntask_names = ['smbd[10.0.0.7]']").services.smbd.task_names


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"interval_seconds = ", "not valid TOML"), (b"\xff\xfe", "not valid TOML")],
)
def test_unreadable_file(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=message):
        load_config(path, {}, [])


def test_missing_file() -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        load_config(Path("nowhere.toml"), {}, [])


def test_value_where_a_table_belongs() -> None:
    """Whichever of the two the user meant, it is not passed over."""
    found = errors(environment={"NFSZBX_PROMETHEUS": "5", "NFSZBX_PROMETHEUS__PORT": "99"})
    assert found[0] == "prometheus (NFSZBX_PROMETHEUS): should be a table"


def test_table_in_the_environment_is_merged() -> None:
    config = load("[zabbix]\nport = 7", {"NFSZBX_ZABBIX": "{host = 'a'}"})
    assert (config.zabbix.port, config.zabbix.host) == (7, "a")


@pytest.mark.parametrize("text", ["9" * 5000, "0x" + "f" * 5000, "[" * 5000])
def test_values_beyond_all_bounds(text: str) -> None:
    (problem,) = errors(environment={"NFSZBX_MAX_CLIENTS": text})
    assert problem.startswith("max_clients (NFSZBX_MAX_CLIENTS): should be")
    with pytest.raises(ConfigurationError):
        load(f"max_clients = {text}")


def test_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "windows.toml"
    path.write_text("max_clients = 7", encoding="utf-8-sig")
    assert load_config(path, {}, []).max_clients == 7


@pytest.mark.parametrize("servers", ["a b", "a:b", "a;", "10.0.0.1:0", "::g"])
def test_servers_that_are_none(servers: str) -> None:
    (problem,) = errors(f"[zabbix]\nservers = ['{servers}']")
    assert "should be a DNS name or an IP address" in problem
    assert servers in problem


def test_servers_as_the_agent_has_them() -> None:
    text = "[zabbix]\nservers = 'node1;node2:10052, [2001:db8::1]:99'"
    assert load(text).zabbix.servers == ("node1;node2:10052", "[2001:db8::1]:99")


def test_settings_of_a_zabbix_agent_where_nfszbx_has_none(tmp_path: Path) -> None:
    agent = tmp_path / "zabbix_agent2.conf"
    agent.write_text("ServerActive=a,b\nHostname=agent's\nTLSConnect=psk\n")
    text = f"[zabbix]\nagent_config = '{agent}'\nhost = 'ours'\n"
    (problem, other) = errors(text)
    assert problem == "zabbix.tls.psk_identity: connect = 'psk' needs it"
    assert other == "zabbix.tls.psk_file: connect = 'psk' needs it"
    agent.write_text("ServerActive=a,b\nHostname=agent's\n")
    assert (load(text).zabbix.servers, load(text).zabbix.host) == (("a", "b"), "ours")
    agent.write_text("ServerActive=a b\n")
    (problem,) = errors(text)
    assert f"zabbix.servers[0] ({agent})" in problem


@pytest.mark.parametrize("key", ["ca_file", "cert_file", "key_file"])
def test_certificates_must_be_named(key: str) -> None:
    files = {"ca_file": "/a", "cert_file": "/b", "key_file": "/c"}
    del files[key]
    lines = "".join(f"{name} = '{value}'\n" for name, value in files.items())
    (problem,) = errors(f"[zabbix.tls]\nconnect = 'cert'\n{lines}")
    assert problem == f"zabbix.tls.{key}: connect = 'cert' needs it"


def test_key_without_encryption() -> None:
    assert errors("[zabbix.tls]\npsk_identity = 'a'\npsk_file = '/b'") == [
        "zabbix.tls.psk_identity: has no effect without connect = 'psk'",
        "zabbix.tls.psk_file: has no effect without connect = 'psk'",
    ]
    (problem,) = errors("[zabbix.tls]\nconnect = 'unencrypted'\nserver_cert_subject = 'CN=a'")
    assert problem == "zabbix.tls.server_cert_subject: has no effect without connect = 'cert'"


def test_key_of_an_agent_that_connects_without(tmp_path: Path) -> None:
    """It is for those who connect to the agent."""
    agent = tmp_path / "zabbix_agentd.conf"
    agent.write_text("ServerActive=a\nTLSAccept=psk\nTLSPSKIdentity=b\nTLSPSKFile=/c\n")
    config = load(f"[zabbix]\nagent_config = '{agent}'")
    assert config.zabbix.tls == ZabbixTlsConfig()
    config = load(f"[zabbix]\nagent_config = '{agent}'\ntls.connect = 'psk'")
    assert config.zabbix.tls.psk_file == "/c"
    files = "TLSCAFile=/d\nTLSCertFile=/e\nTLSKeyFile=/f\n"
    agent.write_text(f"ServerActive=a\nTLSConnect=cert\nTLSAccept=psk\nTLSPSKFile=/c\n{files}")
    config = load(f"[zabbix]\nagent_config = '{agent}'")
    assert (config.zabbix.tls.psk_file, config.zabbix.tls.ca_file) == (None, "/d")


@pytest.mark.parametrize(
    "text",
    [
        "[zabbix.api]\nurl = 'https://Admin:s3cret@zabbix.example.org'",
        "[zabbix.tls]\npsk_file = 's3cret'",
        "[zabbix]\ntls = 's3cret'",
        "[zabbix]\napi = 's3cret'",
    ],
)
def test_secrets_at_the_wrong_place_are_not_shown(text: str) -> None:
    (problem,) = errors(text)
    assert "should be" in problem
    assert "s3cret" not in problem


def test_no_servers() -> None:
    (problem,) = errors("[zabbix]\nservers = []")
    assert "should not be empty" in problem


def test_empty_variable_names_no_file() -> None:
    assert load_config(None, {"NFSZBX_CONFIG": ""}, []) == Config()


def test_file_named_by_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "other.toml"
    path.write_text("max_clients = 7")
    assert load_config(None, {"NFSZBX_CONFIG": str(path)}, []).max_clients == 7

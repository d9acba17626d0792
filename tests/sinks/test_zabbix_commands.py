"""``nfszbx zabbix`` against real servers: sets them up, and finds what is wrong with them."""

import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from nfszbx.template.assemble import GROUP
from nfszbx.template.parts import TEMPLATE
from nfszbx.zabbix_keys import TOTALS_KEY
from tests.requirements import require_psk
from tests.sinks.certificates import Certificates
from tests.sinks.zabbix_proxy import ZabbixProxy
from tests.sinks.zabbix_server import ZabbixServer

HOST = "installed.example.org"
WRONG = 7

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def run(zabbix: ZabbixServer) -> Command:
    """``nfszbx zabbix ...`` with the server, its API and a token of its administrator."""
    environment = {
        **os.environ,
        "NFSZBX_ZABBIX__API__URL": zabbix.frontend_url,
        "NFSZBX_ZABBIX__API__TOKEN": zabbix.create_token(),
        "NFSZBX_ZABBIX__SERVERS": f"127.0.0.1:{zabbix.trapper_port}",
        "NFSZBX_ZABBIX__HOST": HOST,
        "NFSZBX_ZABBIX__TIMEOUT_SECONDS": "3",
        "ZABBIX_USER": "taken by nobody",
        "ZABBIX_PASSWORD": "taken by nobody",
    }

    def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "nfszbx", "zabbix", *arguments],
            env={k: v for k, v in {**environment, **settings}.items() if v},
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def installed(run: Command, zabbix: ZabbixServer) -> str:
    """The host's id."""
    result = run("install")
    assert result.returncode == 0, result.stderr
    assert f"template '{TEMPLATE}'" in result.stdout
    assert f"host '{HOST}' is made, in the group 'Linux servers'" in result.stdout
    assert "the test value has arrived: version 0." in result.stdout
    (host,) = zabbix.call("host.get", {"filter": {"host": HOST}, "output": ["hostid"]})
    return str(host["hostid"])


@contextmanager
def changed(
    zabbix: ZabbixServer, kind: str, row: Mapping[str, object], undo: Mapping[str, object]
) -> Iterator[None]:
    """Something is wrong in Zabbix for a while."""
    key = "hostid" if kind == "host" else "itemid"
    zabbix.call(f"{kind}.update", row)
    zabbix.synchronise()
    try:
        yield
    finally:
        zabbix.call(f"{kind}.update", {key: row[key], **undo})
        zabbix.synchronise()


def find_item(zabbix: ZabbixServer, host_id: str, key: str) -> str:
    wanted = {"hostids": host_id, "filter": {"key_": key}, "output": ["itemid"]}
    return str(zabbix.call("item.get", wanted)[0]["itemid"])


def problems(result: subprocess.CompletedProcess[str]) -> list[str]:
    assert result.returncode in {0, WRONG}, result.stderr
    found = [line for line in result.stdout.splitlines() if line.startswith("PROBLEM")]
    assert bool(found) == (result.returncode == WRONG)
    return found


@pytest.mark.usefixtures("installed")
def test_install_again_changes_nothing(run: Command) -> None:
    result = run("install")
    assert result.returncode == 0, result.stderr
    assert f"host '{HOST}' has the template\n" in result.stdout


def test_install_on_a_host_that_is_there(run: Command, zabbix: ZabbixServer) -> None:
    zabbix.create_host("monitored already", {})
    result = run("install", "--zabbix-host", "monitored already")
    assert result.returncode == 0, result.stderr
    assert "host 'monitored already' has the template now" in result.stdout


@pytest.mark.usefixtures("installed")
def test_nothing_is_wrong(run: Command) -> None:
    result = run("check")
    assert not problems(result)
    assert "takes values and shows them: version 0." in result.stdout


@pytest.mark.usefixtures("installed")
def test_wrong_host_name(run: Command) -> None:
    found = run("check", "--zabbix-host", "Installed")
    assert "PROBLEM  Zabbix shows no host 'Installed'" in found.stdout
    assert f"Zabbix has '{HOST}'" in found.stdout
    assert any("refuses values" in line for line in problems(found))


@pytest.mark.usefixtures("installed")
def test_without_the_api_the_usual_reasons_are_named(run: Command) -> None:
    found = run("check", "--zabbix-host", "Installed", NFSZBX_ZABBIX__API__URL="")
    (problem,) = problems(found)
    assert "refuses values" in problem
    assert "does not know the host 'Installed'" in found.stdout
    assert "With zabbix.api.url" in found.stdout


def test_disabled_host(run: Command, zabbix: ZabbixServer, installed: str) -> None:
    with changed(zabbix, "host", {"hostid": installed, "status": 1}, {"status": 0}):
        found = problems(run("check"))
    assert any(f"the host '{HOST}' is disabled" in line for line in found)


def test_host_that_wants_a_key(run: Command, zabbix: ZabbixServer, installed: str) -> None:
    psk = {"tls_psk_identity": "check", "tls_psk": "0" * 32}
    with changed(zabbix, "host", {"hostid": installed, "tls_accept": 2, **psk}, {"tls_accept": 1}):
        found = problems(run("check"))
    assert any("takes connections of the kind psk alone" in line for line in found)
    assert any("refuses values" in line for line in found)


def test_allowed_hosts(run: Command, zabbix: ZabbixServer, installed: str) -> None:
    item = find_item(zabbix, installed, TOTALS_KEY)
    wrong = {"itemid": item, "trapper_hosts": "192.0.2.7"}
    with changed(zabbix, "item", wrong, {"trapper_hosts": ""}):
        result = run("check")
    assert any("refuses values" in line for line in problems(result))
    assert f"{TOTALS_KEY} takes values from 192.0.2.7 alone" in result.stdout


def test_disabled_item(run: Command, zabbix: ZabbixServer, installed: str) -> None:
    item = find_item(zabbix, installed, TOTALS_KEY)
    with changed(zabbix, "item", {"itemid": item, "status": 1}, {"status": 0}):
        found = problems(run("check"))
    assert any(f"the item {TOTALS_KEY} is disabled" in line for line in found)


@pytest.mark.usefixtures("installed")
def test_no_server(run: Command) -> None:
    result = run("check", "--zabbix-server", "127.0.0.1:1")
    (problem,) = problems(result)
    assert "127.0.0.1:1: Connection refused" in problem
    assert "zabbix.port" in result.stdout


def test_install_makes_nothing_without_a_server(run: Command, zabbix: ZabbixServer) -> None:
    result = run("install", "--zabbix-server", "127.0.0.1:1", "--zabbix-host", "not made")
    assert (result.returncode, result.stdout) == (WRONG, "")
    assert "127.0.0.1:1 cannot be reached: Connection refused" in result.stderr
    assert not zabbix.call("host.get", {"filter": {"host": "not made"}})


def test_install_with_the_role_admin(run: Command, zabbix: ZabbixServer) -> None:
    user_id = zabbix.create_user(["Linux servers", GROUP])
    token = zabbix.create_token(user_id)
    result = run("install", "--zabbix-host", "role admin", NFSZBX_ZABBIX__API__TOKEN=token)
    assert result.returncode == 0, result.stderr
    assert "the test value has arrived" in result.stdout


@pytest.mark.usefixtures("installed")
def test_token_that_may_not_see_the_host(run: Command, zabbix: ZabbixServer) -> None:
    token = zabbix.create_token(zabbix.create_user([]))
    result = run("check", NFSZBX_ZABBIX__API__TOKEN=token)
    assert len(problems(result)) == 2
    assert "so it knows the host, but this token may not see it" in result.stdout


def test_frontend_with_a_certificate_of_its_own(run: Command, certificates: Certificates) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server, certificates.server_key)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with suppress(OSError):  # the other side goes away
                context.wrap_socket(listener.accept()[0], server_side=True)

        thread = threading.Thread(target=answer)
        thread.start()
        result = run("check", "--url", f"https://127.0.0.1:{listener.getsockname()[1]}/")
        thread.join()
    assert "is not trusted: unable to get local issuer certificate" in result.stdout
    assert "zabbix.api.ca_file" in result.stdout


@pytest.mark.usefixtures("installed")
def test_check_goes_on_without_the_api(run: Command) -> None:
    result = run("check", "--url", "http://127.0.0.1:1/")
    (problem,) = problems(result)
    assert "cannot connect to http://127.0.0.1:1/: Connection refused" in problem
    assert "takes values" in result.stdout


@pytest.mark.usefixtures("installed")
def test_host_with_other_capitals_is_told(run: Command, zabbix: ZabbixServer) -> None:
    result = run("install", "--zabbix-host", HOST.upper())
    assert result.returncode == 0, result.stderr
    assert f"similar hosts: '{HOST}'" in result.stdout
    (host,) = zabbix.call("host.get", {"filter": {"host": HOST.upper()}, "output": ["hostid"]})
    zabbix.call("host.delete", [host["hostid"]])


@pytest.mark.parametrize(
    ("setting", "value", "status", "message"),
    [
        ("TOKEN", "0" * 64, WRONG, "Zabbix does not take the API token"),
        ("TOKEN", "two words", 2, "zabbix.api.token is empty, or no token"),
        ("URL", "http://127.0.0.1:1/zabbix", WRONG, "1/zabbix: Connection refused"),
        ("URL", "http://no-such-host.invalid/", WRONG, "cannot connect to http://no-such-host"),
        ("URL", "zabbix.example.org", 2, "zabbix.api.url"),
        ("TOKEN", "", 2, "zabbix.api.token_file is not set"),
        ("TOKEN_FILE", "/nowhere", 2, "cannot read /nowhere"),
        ("CA_FILE", "/nowhere", 2, "zabbix.api.ca_file: /nowhere"),
        ("URL", "http://me:secret@127.0.0.1/", 2, "a URL without a user"),
    ],
)
def test_api_that_cannot_be_used(
    run: Command, setting: str, value: str, status: int, message: str
) -> None:
    settings = {f"NFSZBX_ZABBIX__API__{setting}": value}
    if setting == "TOKEN_FILE":
        settings["NFSZBX_ZABBIX__API__TOKEN"] = ""
    result = run("install", **settings)
    assert (result.returncode, "Traceback" in result.stderr) == (status, False)
    assert message in result.stderr
    assert "hint: " in result.stderr
    assert "secret" not in result.stderr


@pytest.mark.usefixtures("installed")
def test_token_file_and_nothing_of_it_in_messages(
    run: Command, zabbix: ZabbixServer, tmp_path: Path
) -> None:
    token = zabbix.create_token()
    file = tmp_path / "token"
    file.write_text(f"{token}\n")
    file.chmod(0o600)
    unset = {"NFSZBX_ZABBIX__API__TOKEN": ""}
    good = run("check", "--token-file", str(file), **unset)
    assert not problems(good)
    assert not good.stderr
    file.chmod(0o644)
    careless = run("check", "--token-file", str(file), **unset)
    assert f"{file} lets every user read it" in careless.stderr
    assert token not in good.stdout + careless.stdout + careless.stderr


def test_install_with_a_key(run: Command, tmp_path: Path) -> None:
    """The new host is made to want it."""
    require_psk()
    file = tmp_path / "key.psk"
    file.write_text("0123456789abcdef" * 4 + "\n")
    tls = {
        "NFSZBX_ZABBIX__TLS__CONNECT": "psk",
        "NFSZBX_ZABBIX__TLS__PSK_IDENTITY": "installed with a key",
        "NFSZBX_ZABBIX__TLS__PSK_FILE": str(file),
        "NFSZBX_ZABBIX__HOST": "installed with a key",
    }
    result = run("install", **tls)
    assert result.returncode == 0, result.stderr
    assert not problems(run("check", **tls))
    plain = run("install", NFSZBX_ZABBIX__HOST="installed with a key")
    assert plain.returncode == WRONG
    assert "takes connections of the kind psk alone" in plain.stderr


def test_install_for_one_server_at_a_time(run: Command) -> None:
    result = run("install", "--zabbix-server", "192.0.2.1", "--zabbix-server", "192.0.2.2")
    assert (result.returncode, "name that one with --zabbix-server" in result.stderr) == (2, True)


@pytest.mark.parametrize("secret", ["TOKEN", "TOKEN_FILE"])
def test_secrets_are_not_shown(run: Command, secret: str) -> None:
    result = run("check", **{f"NFSZBX_ZABBIX__API__{secret}": '["s3cret"]'})
    assert result.returncode == 2
    assert "s3cret" not in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("version", "made_for"), [("6", "6.0"), ("6.4", "6.0"), ("7", "7.0"), ("7.4", "7.0")]
)
def test_template_for_a_version(run: Command, version: str, made_for: str) -> None:
    assert f"version: '{made_for}'" in run("template", "--version", version).stdout


@pytest.mark.parametrize("version", ["5.0", "new"])
def test_template_for_no_version(run: Command, version: str) -> None:
    result = run("template", "--version", version)
    assert (result.returncode, "--version" in result.stderr) == (2, True)


def test_host_behind_a_proxy(run: Command, zabbix: ZabbixServer, tmp_path: Path) -> None:
    """The server itself takes no values for it."""
    host = ("--zabbix-host", "monitored by a proxy")
    host_id = zabbix.create_host(host[1], {})
    with ZabbixProxy(zabbix, "far away", tmp_path) as proxy:
        proxy.monitor(host_id)
        result = run("install", *host, "--zabbix-server", proxy.address)
        assert result.returncode == 0, result.stderr
        assert "the test value has arrived" in result.stdout
        assert not problems(run("check", *host, "--zabbix-server", proxy.address))
    to_server = run("check", *host)
    (problem,) = problems(to_server)
    assert "refuses values" in problem
    assert "set zabbix.servers to the proxy 'far away'" in to_server.stdout

"""Each process imports what it needs, and not what the other one needs: it is megabytes."""

import json
import subprocess
import sys

import pytest

CODE = "import sys, json, {module}; print(json.dumps(list(sys.modules)))"


def list_imports(module: str) -> set[str]:
    answer = subprocess.run(
        [sys.executable, "-c", CODE.format(module=module)], check=True, stdout=subprocess.PIPE
    )
    return set(json.loads(answer.stdout))


def test_process_that_measures() -> None:
    found = list_imports("nfszbx.cli")
    assert {"pexpect", "pydantic", "nfszbx.sinks.supervised"} <= found
    assert not found & {"prometheus_client", "zabbix_utils", "rich", "ssl", "http.server"}


@pytest.mark.parametrize(
    ("sink", "its_own"),
    [("console", "rich"), ("prometheus", "prometheus_client"), ("zabbix", "zabbix_utils")],
)
def test_process_with_the_sinks(sink: str, its_own: str) -> None:
    found = list_imports("nfszbx.sinks.process")
    assert not found & {"rich", "prometheus_client", "zabbix_utils"}
    found = list_imports(f"nfszbx.sinks.process, nfszbx.sinks.{sink}")
    assert found & {"rich", "prometheus_client", "zabbix_utils"} == {its_own}
    assert not found & {"pexpect", "pydantic", "typer", "nfszbx.plan", "nfszbx.script"}

from pathlib import Path

import pytest

from tests.live.faults import Fault, Record, write_fault
from tests.requirements import require


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fault-results", type=Path, help="folder for the rows of test_faults.py")


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Record:
    """Keeps a row for docs/reliability.md, where it is asked for."""
    directory: Path | None = request.config.getoption("--fault-results", default=None)

    def keep(name: str, fault: Fault) -> None:
        write_fault(directory, name, fault)

    return keep


@pytest.fixture(autouse=True)
def _needs_bpftrace() -> None:
    require("bpftrace")

import pytest

from tests.requirements import require


@pytest.fixture(autouse=True)
def _needs_bpftrace() -> None:
    require("bpftrace")

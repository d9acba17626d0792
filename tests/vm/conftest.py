"""Starts the machines of the rows that were asked for, and tells at the end what was compared."""

import argparse
import inspect
import json
from collections.abc import Generator, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.debian import BuildError
from tests.requirements import require_programs
from tests.vm.guest.scenarios import SCENARIOS
from tests.vm.lab import Lab
from tests.vm.machine import MachineLostError
from tests.vm.matrix import MATRIX, ROWS, Row

PROGRAMS = ("qemu-system-x86_64", "mmdebstrap", "mke2fs", "setpriv")
_labs: list[Lab] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    help_text = "rows of the VM matrix, with commas in between; all by default"
    parser.addoption("--kernel", type=_read_kernels, default="", help=help_text)
    parser.addoption("--other-tools", action="store_true", help="compare them, too (slow)")
    parser.addoption("--vm-results", type=Path, help="folder for the results of the VM matrix")


def _read_kernels(text: str) -> list[str]:
    kernels = text.split(",") if text else list(ROWS)
    if unknown := [name for name in kernels if name not in ROWS]:
        raise argparse.ArgumentTypeError(f"no such row: {', '.join(unknown)}")
    return kernels


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "lab" in metafunc.fixturenames:
        kernels = metafunc.config.getoption("--kernel")
        rows = [row for row in MATRIX if row.kernel in kernels]
        names = [row.kernel for row in rows]
        if "scenario" in metafunc.fixturenames:
            pairs = [(row, name) for row in rows for name in SCENARIOS if name not in row.lacks]
            names = [f"{row.kernel}-{name}" for row, name in pairs]
            metafunc.parametrize(
                ("lab", "scenario"), pairs, ids=names, indirect=["lab"], scope="session"
            )
        else:
            metafunc.parametrize("lab", rows, ids=names, indirect=True, scope="session")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One row after the other, so that each needs one machine, and in the order of the files."""
    kernels, scenarios = list(ROWS), list(SCENARIOS)

    def find_place(item: pytest.Item) -> tuple[int, str, int, int]:
        callspec = getattr(item, "callspec", None)
        parameters = callspec.params if callspec else {}
        if "lab" not in parameters:
            return -1, "", 0, 0
        path, line, _ = item.location
        scenario = parameters.get("scenario")
        rank = scenarios.index(scenario) if scenario else 0
        return kernels.index(parameters["lab"].kernel), path, line or 0, rank

    items.sort(key=find_place)


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A row of the matrix. Without what it takes: skipped at a desk, failed in CI."""
    require_programs(*PROGRAMS)
    row: Row = request.param
    lab = Lab(row, request.config.getoption("--other-tools"))
    _labs.append(lab)
    try:
        yield lab
    finally:
        lab.close()


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """A test that lost its machine begins anew, once, on another one; the summary tells."""
    try:
        return (yield)
    except MachineLostError:
        names = inspect.signature(pyfuncitem.obj).parameters
        pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})
        return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A lost machine, or an image that cannot be built, is an error, not a failed test."""
    report = yield
    if call.excinfo and isinstance(call.excinfo.value, MachineLostError | BuildError):
        report.longrepr = f"{type(call.excinfo.value).__name__}: {call.excinfo.value}"
        report.when = "setup"  # counted and shown as an error
    return report


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    folder: Path | None = config.getoption("--vm-results")
    for lab in _labs:
        ways = ", ".join(lab.exact_ways)
        terminalreporter.write_line(f"Linux {lab.row.kernel} ({ways}): {lab.comparison.describe()}")
        for note in lab.notes:
            terminalreporter.write_line(f"  {note}")
        for scenario, reason in lab.row.lacks.items():
            terminalreporter.write_line(f"  {scenario} is not possible there: {reason}")
        for loss in lab.lost:
            terminalreporter.write_line(f"  {loss.partition(chr(10))[0]}", red=True)
        if folder is not None and lab.comparison.measurements:
            folder.mkdir(parents=True, exist_ok=True)
            document = {
                "versions": lab.versions,
                "ways": lab.row.ways,
                "measurements": [
                    asdict(measurement) for measurement in lab.comparison.measurements
                ],
            }
            (folder / f"{lab.row.kernel}.json").write_text(json.dumps(document, indent=1) + "\n")

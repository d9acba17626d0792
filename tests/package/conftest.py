"""Builds the package once and boots a clean Debian of each suite for it."""

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.debian import REPOSITORY
from tests.package.image import SUITES, get_image
from tests.package.system import System
from tests.requirements import require_programs
from tests.vm.machine import Machine

PROGRAMS = ("qemu-system-x86_64", "mmdebstrap", "mke2fs", "setpriv", "dh_installsysusers", "gcc")
LATER_VERSION = "9.0"


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of the package, as ``make deb`` makes it, and of a later version of it."""
    require_programs(*PROGRAMS)
    folder = tmp_path_factory.mktemp("packages")
    build = [str(REPOSITORY / "packaging/build-deb"), str(folder)]
    subprocess.run(build, check=True, env={**_environment(), "PYTHON": sys.executable})
    (first,) = folder.glob("nfszbx_*.deb")
    tree = folder / "tree"
    subprocess.run(["dpkg-deb", "--raw-extract", first, tree], check=True)
    control = tree / "DEBIAN/control"
    lines = control.read_text().splitlines(keepends=True)
    control.write_text(
        "".join(
            f"Version: {LATER_VERSION}\n" if line.startswith("Version:") else line for line in lines
        )
    )
    later = folder / f"nfszbx_{LATER_VERSION}.deb"
    subprocess.run(["dpkg-deb", "-Zgzip", "--root-owner-group", "--build", tree, later], check=True)
    shutil.rmtree(tree)
    archive = folder / "packages.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(first, "nfszbx.deb")
        tar.add(later, "later.deb")
        tar.add(Path(__file__).parent / "guest_scrape.py", "scrape.py")
    return archive


def _environment() -> dict[str, str]:
    """Without this session's own import path, which pip would look at."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


@pytest.fixture(scope="module", params=SUITES)
def system(request: pytest.FixtureRequest, packages: Path) -> Iterator[System]:
    """A booted Debian. The tests of a module follow each other on it."""
    with Machine(get_image(request.param), packages) as machine:
        yield System(machine, request.param)

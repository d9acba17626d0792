"""Builds Debian systems of any suite in folders, and keeps what tests make of them.

They are kept outside the checkout (``XDG_CACHE_HOME``, ``~/.cache``), under names that change with
everything that goes into them.
"""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

REPOSITORY = Path(__file__).parents[1]


class BuildError(Exception):
    """A system cannot be built: no test has failed, none could run."""


def get_cached(kind: str, name: str, digest: str, build: Callable[[Path], None]) -> Path:
    """The folder ``kind/name-digest`` of the cache; one of another digest is replaced by it.

    ``build`` is given a folder that it makes what is kept in, as ``made``.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "nfszbx" / kind
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"{name}-{digest}"
    with _lock(cache / f"{name}.lock"):
        if not folder.is_dir():
            for old in cache.glob(f"{name}-*"):
                shutil.rmtree(old)
            with TemporaryDirectory(dir=cache, prefix=f"building-{name}-") as building:
                build(Path(building))
                (Path(building) / "made").rename(folder)
    return folder


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def describe_root(
    packages: Iterable[str], suites: Sequence[str], *hooks: str, mirror: str = "mirror"
) -> list[str]:
    """The arguments of mmdebstrap, but for the folder, which ``-`` stands for.

    The first of the suites is the system's; the others lend packages.
    """
    return [
        *("--mode=root", "--variant=minbase", "--quiet", "--include", ",".join(packages)),
        "--keyring=/usr/share/keyrings/debian-archive-keyring.gpg",
        '--aptopt=Acquire::Check-Valid-Until "false"',
        '--aptopt=Acquire::Retries "3"',
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale")),
        *hooks,
        suites[0],
        "-",
        *(f"deb {mirror} {suite} main" for suite in dict.fromkeys(suites)),
    ]


def build_root(folder: Path, arguments: Sequence[str]) -> None:
    """Make the system that :func:`describe_root` describes."""
    words = [str(folder) if word == "-" else word for word in arguments]
    run("mmdebstrap", *words, temporary=folder.parent)


def find_mirror() -> str:
    """The Debian archive that this machine's apt uses."""
    targets = run("apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)")
    for line in targets.splitlines():
        label, _, uri = line.partition(" ")
        if label == "Debian":
            return uri
    raise BuildError("apt knows no Debian archive; run apt-get update")


def run(*command: str, temporary: Path | None = None) -> str:
    """Run a program to its end, gently; its output. Raises BuildError with its last words."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    if temporary is not None:
        environment["TMPDIR"] = str(temporary)
    result = subprocess.run(
        ["nice", *command],
        env=environment,
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if result.returncode != 0:
        words = (result.stderr or result.stdout).strip().splitlines()[-15:]
        raise BuildError("\n".join([f"{command[0]} failed:", *words]))
    return result.stdout

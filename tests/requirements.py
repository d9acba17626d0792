"""What a live test needs of the machine. Missing means skipped at a desk and failed in CI."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest


def require(*programs: str) -> None:
    """Skip the test, or fail it in CI, unless it runs as root and has these programs."""
    missing = []
    if os.geteuid() != 0:
        missing.append("root")
    if not Path("/sys/kernel/tracing/events/sock").is_dir():
        missing.append("tracefs with the sock tracepoints")
    require_programs(*programs, missing=missing)


def require_programs(*programs: str, missing: Iterable[str] = ()) -> None:
    """Skip the test, or fail it in CI, when one of these is not installed, or else is missing."""
    missing = [*missing, *(name for name in programs if not shutil.which(name))]
    if missing and os.environ.get("CI"):
        pytest.fail(f"CI must have: {', '.join(missing)}")
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")


def require_psk() -> None:
    """The same, when this Python cannot encrypt with a pre-shared key (docs/zabbix.md)."""
    can = sys.version_info >= (3, 13) or importlib.util.find_spec("sslpsk3") is not None
    require_programs(missing=[] if can else ["the package sslpsk3"])

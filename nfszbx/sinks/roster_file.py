"""Rosters on disk: what a monitoring system has been shown outlasts a restart."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path

from nfszbx.cadence import Row

_log = logging.getLogger(__name__)


def write_roster(path: Path, seen_unix_seconds: Mapping[Row, float]) -> None:
    """Keep it, wholly or not at all. Raises OSError."""
    rows = [[*row, round(seen)] for row, seen in seen_unix_seconds.items()]
    new = path.with_suffix(".new")
    new.write_text(json.dumps(rows), encoding="utf-8")
    new.replace(path)


def read_roster(path: Path) -> dict[Row, float]:
    """What an earlier run has kept; nothing when there is none, or it is damaged."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return {tuple(map(str, row)): float(seen) for *row, seen in rows}
    except (FileNotFoundError, NotADirectoryError):  # the spool tells of the latter
        return {}
    except (OSError, ValueError, TypeError) as error:
        _log.warning("%s is not used: %s", path, error)
        return {}

"""Names the exports of nfsd: from the key that the kernel has to a path, by its own table."""

import logging
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from nfszbx.operations.export_lines import Mounts, name_path, parse_exports, parse_mounts
from nfszbx.operations.path_keys import KeyReader, PathKey, Place

UNKNOWN = "unknown"
"""Name of an export whose path is not known for certain."""
MAX_KEYS = 10_000
"""Paths that are remembered; the first to be found is the first to be forgotten."""
MAX_NOTICES = 50
"""Different lines of the log."""
MAX_VIEWS = 16
"""Servers of one machine that are believed; each costs the reading of its mounts."""

_SERVERS = ("rpc.mountd", "nfsv4.exportd")
"""Who answers the kernel's questions about exports, and so looked their paths up."""
_FIRST_PROCESS = "1"

_log = logging.getLogger(__name__)


class _View(NamedTuple):
    """What one server sees: its table, in its network namespace, and its mounts."""

    root: Path
    exports: bytes
    mountinfo: bytes


class ExportTable:
    """Follows the kernel's table, in every network namespace with a mountd. Needs root.

    A path is found where mountd has found it: in its mount namespace. Without a mountd that can be
    seen, that is the namespace of the first process. Containers that export the same path share
    its name. Only root's processes are believed to be a mountd, outside of other user namespaces:
    anybody can give a process its name.
    """

    def __init__(self, root: Path, *, unique: bool) -> None:
        """``root`` has ``proc``. ``unique``: are the mounts of the keys ``mnt_id_unique``?"""
        self._proc = root / "proc"
        self._unique = unique
        self._reader = KeyReader(unique=unique)
        self._views: list[_View] = []
        self._paths: dict[PathKey, str] = {}
        self._changed: set[PathKey] = set()
        """Those that meant another path until the last look: what was counted since may be of both.
        """
        self._is_complete = True
        self._notices: set[str] = set()

    def refresh(self) -> None:
        """Look again, before each dump is told; waits for 0.25 seconds at most.

        Without a change it costs the reading of the lists, and none of the paths is touched.
        """
        self._changed = set()
        views = list(self._read_views())
        if views == self._views and self._is_complete:
            return
        self._views = views
        if not self._unique:
            self._forget_mounts()
        found = self._find_keys()
        for key, paths in found.items():
            if len(paths) > 1:
                self._notice(
                    f"exports that the kernel's numbers do not tell apart: {', '.join(paths)}; "
                    f"what is done there is told of the export '{UNKNOWN}'"
                )
            path = paths[0] if len(paths) == 1 else UNKNOWN
            if self._paths.get(key, path) != path:
                self._changed.add(key)
            self._paths[key] = path
        for key in list(self._paths)[: max(0, len(self._paths) - MAX_KEYS)]:
            del self._paths[key]

    def find_path(self, mount: int, inode: int) -> str:
        """The path of an export, as a label; ``unknown`` where in doubt.

        What was found once stays for as long as it is true: the kernel forgets exports that it
        has not used for half an hour, and all of them with each ``exportfs -r``.
        """
        key = PathKey(mount, inode)
        if key in self._changed:
            return UNKNOWN
        path = self._paths.get(key)
        if path is None:
            self._notice(f"an export without a known path (mount {mount}, inode {inode})")
            return UNKNOWN
        return path

    def _read_views(self) -> Iterator[_View]:
        """One for each pair of a network and a mount namespace: that of the youngest server."""
        known: set[tuple[int, ...]] = set()
        for process in find_servers(self._proc) or [self._proc / _FIRST_PROCESS]:
            if len(known) == MAX_VIEWS:
                return
            try:
                namespaces = tuple(_read_namespace(process, kind) for kind in ("net", "mnt"))
                view = _View(
                    process / "root",
                    (process / "net/rpc/nfsd.export/content").read_bytes(),
                    (process / "mountinfo").read_bytes(),
                )
            except OSError:  # it has ended, or there is no nfsd
                continue
            if namespaces not in known:
                known.add(namespaces)
                yield view

    def _forget_mounts(self) -> None:
        """Their numbers may be given to others."""
        there = {number for view in self._views for number in parse_mounts(view.mountinfo)}
        self._paths = {key: path for key, path in self._paths.items() if key.mount in there}

    def _find_keys(self) -> Mapping[PathKey, list[str]]:
        """The names of the paths by their keys; more than one where they cannot be told apart."""
        found: dict[PathKey, set[str]] = defaultdict(set)
        to_ask: list[Place] = []
        for view in self._views:
            mounts = Mounts({} if self._unique else parse_mounts(view.mountinfo))
            for path in parse_exports(view.exports):
                number = mounts.find(path)
                if number is None:
                    to_ask.append(Place(view.root, path))
                else:
                    found[PathKey(number, 0)].add(name_path(path))
        answers = self._reader.read(to_ask)
        self._is_complete = len(answers) == len(to_ask)
        for place, answer in answers.items():
            if isinstance(answer, PathKey):
                found[answer].add(name_path(place.path))
            elif not isinstance(answer, FileNotFoundError):
                self._notice(f"the export {name_path(place.path)} cannot be looked at: {answer}")
        return {key: sorted(paths) for key, paths in found.items()}

    def _notice(self, text: str) -> None:
        if text not in self._notices and len(self._notices) < MAX_NOTICES:
            self._notices.add(text)
            _log.warning("%s", text)


def find_servers(proc: Path) -> list[Path]:
    """The folders of those that are believed to be a mountd, the youngest first.

    One that was left behind by another one is asked last.
    """
    begins = {process: _read_begin(proc, process) for process in find_processes(proc, _SERVERS)}
    servers = [(begin, process) for process, begin in begins.items() if begin is not None]
    return [process for _, process in sorted(servers, reverse=True)]


def _read_begin(proc: Path, process: Path) -> int | None:
    """When it was started, in clock ticks since boot; None for a process not to be believed."""
    try:
        uid = re.search(rb"^Uid:\t([0-9]+)", (process / "status").read_bytes(), re.MULTILINE)
        is_ours = _read_namespace(process, "user") == _read_namespace(proc / "self", "user")
        # proc_pid_stat(5): the name is in brackets and may have any; the 22nd field is wanted.
        begin = int((process / "stat").read_bytes().rpartition(b")")[2].split()[19])
    except (OSError, IndexError, ValueError):  # it has ended
        return None
    return begin if is_ours and uid is not None and uid[1] == b"0" else None


def find_processes(proc: Path, names: Collection[str]) -> list[Path]:
    """The folders of all processes that have one of these names."""
    return [path for path in proc.iterdir() if path.name.isdecimal() and _read_name(path) in names]


def _read_name(process: Path) -> str:
    try:
        return (process / "comm").read_text(encoding="utf-8", errors="replace").rstrip("\n")
    except OSError:
        return ""


def _read_namespace(process: Path, kind: str) -> int:
    """Raises OSError."""
    return (process / f"ns/{kind}").stat().st_ino

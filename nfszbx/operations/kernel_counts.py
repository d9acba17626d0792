"""The kernel's own counts of NFS operations and of their bytes, and what is missing in ours.

They stand in ``/proc/net/rpc/nfsd`` (nfsd_show in fs/nfsd/stats.c, svc_seq_show in
net/sunrpc/stats.c)::

    io 4194304 8388608         bytes read and written
    proc3 22 0 5 0 ...         number of procedures, and the requests of each
    proc4ops 76 0 0 0 17 ...   number of operations, and how often each was carried out

``proc2`` and ``proc3`` count every request whose version and procedure are known, also if it is
answered from the cache, dropped or undecodable; ``proc4ops`` counts operations that were carried
out, with success or not. Old kernels count ``proc2`` and ``proc3`` without atomicity and so lose
some (before Linux kernel commit 65ba3d2425bf "SUNRPC: Use per-CPU counters to tally server RPC
counts").

``io`` has what READ, READ_PLUS and WRITE have moved, and not COPY and CLONE (nfsd_finish_read and
nfsd_vfs_write in fs/nfsd/vfs.c). A WRITE after which an earlier write-back turns out to have failed
is in it, and has no tracepoint that would tell its bytes. Old kernels keep 32 bits of it, without
atomicity: there what is missing may not show.
"""

import re
from collections.abc import Hashable, Mapping
from typing import Generic, NamedTuple, TypeVar

from nfszbx.operations.names import PROCEDURES, name_procedure, name_v4_operation

KernelCounts = Mapping[tuple[str, str], int]
"""By version (``2``, ``3``, ``4`` with all its minors) and operation."""

_Key = TypeVar("_Key", bound=Hashable)

_LINE = re.compile(r"(proc2|proc3|proc4ops) ([0-9]{1,9})((?: [0-9]{1,20})*)")
_IO_LINE = re.compile(r"^io ([0-9]{1,20}) ([0-9]{1,20})$", re.MULTILINE)
_PLACEHOLDERS = 3
"""At the beginning of ``proc4ops``: numbers that are no operations."""
LASTING_NS = 60 * 10**9
"""So long a request may be under way: as a client waits before it sends it again."""


def parse_kernel_counts(text: str) -> dict[tuple[str, str], int]:
    """The content of ``/proc/net/rpc/nfsd``.

    A line that is missing or that cannot be understood is left out: what it would tell is not
    compared. A version that is not built in or not served has none.
    """
    counts: dict[tuple[str, str], int] = {}
    for match in filter(None, map(_LINE.fullmatch, text.splitlines())):
        values = [int(value) for value in match[3].split()]
        if len(values) != int(match[2]):
            continue
        if match[1] == "proc4ops":
            for number, count in enumerate(values[_PLACEHOLDERS:], start=_PLACEHOLDERS):
                counts["4", name_v4_operation(number)] = count
        else:
            version = int(match[1].removeprefix("proc"))
            for number, count in enumerate(values[: len(PROCEDURES[version])]):
                counts[str(version), name_procedure(version, number)] = count
    return counts


def parse_kernel_bytes(text: str) -> dict[str, int]:
    """Bytes by ``read`` and ``write``; nothing where the line is missing."""
    match = _IO_LINE.search(text)
    return {"read": int(match[1]), "write": int(match[2])} if match else {}


class KernelReading(NamedTuple):
    """``/proc/net/rpc/nfsd`` at a moment."""

    text: str
    """Empty if it cannot be read."""
    at_ns: int
    """Since boot, after it was read."""


class Uncounted(Generic[_Key]):
    """What the kernel has counted and we have not, since the first dump.

    Never too much. What the kernel has counted by then is in the next dump that bpftrace begins,
    but for requests that are still under way: the kernel counts these before, and we afterwards.
    So it is told only of what has been missing for a minute. For the same reasons it may show only
    when there is less to do. A request that takes longer is told, too, and hides another one when
    it has come to its end.
    """

    def __init__(self) -> None:
        self.counts: dict[_Key, int] = {}
        """Only grow. Everything that the kernel counts, also with 0."""
        self._settled: dict[_Key, int] = {}
        """What was missing before the kernel's counts began anew."""
        self._kernel_base: Mapping[_Key, int] = {}
        self._our_base: Mapping[_Key, int] = {}
        self._readings: list[tuple[int, Mapping[_Key, int]]] = []
        """The last one that is older than a dump, and all after it; by time."""
        self._lowest: dict[_Key, int] = {}
        """What was always missing since ``_since_ns``."""
        self._since_ns = 0

    def advance(
        self, ours: Mapping[_Key, int], end_ns: int, kernel: Mapping[_Key, int], at_ns: int
    ) -> None:
        """Compare our counts with those of the kernel that were read before bpftrace read ours.

        ``ours`` are those of a dump of ``end_ns``; ``kernel``, which was read when this had come,
        at ``at_ns``, is for those that follow: for the next one, unless that is waiting already.
        """
        last = self._readings[-1][1] if self._readings else None
        if last is None or any(kernel.get(key, 0) < count for key, count in last.items()):
            # The first; or nfsd was loaded anew, or an old kernel's counts of 32 bits have wrapped.
            self._kernel_base, self._our_base = dict(kernel), dict(ours)
            self._settled = dict(self.counts)
            self.counts = {**dict.fromkeys(kernel, 0), **self.counts}
            self._readings = []
            self._begin(end_ns)
        while len(self._readings) > 1 and self._readings[1][0] <= end_ns:
            del self._readings[0]
        if self._readings and self._readings[0][0] <= end_ns:
            self._compare(ours, self._readings[0][1])
            if end_ns - self._since_ns >= LASTING_NS:
                self._tell()
                self._begin(end_ns)
        self._readings.append((at_ns, dict(kernel)))

    def _begin(self, end_ns: int) -> None:
        self._lowest, self._since_ns = {}, end_ns

    def _compare(self, ours: Mapping[_Key, int], kernel: Mapping[_Key, int]) -> None:
        for key, count in kernel.items():
            missing = count - self._kernel_base.get(key, 0)
            missing -= ours.get(key, 0) - self._our_base.get(key, 0)
            self._lowest[key] = min(self._lowest.get(key, missing), missing)

    def _tell(self) -> None:
        for key, missing in self._lowest.items():
            told = self._settled.get(key, 0) + missing
            self.counts[key] = max(self.counts.get(key, 0), told)

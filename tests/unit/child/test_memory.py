"""A child's memory: of a real process, and of one that has grown."""

import os
import subprocess
import sys

import pytest

from nfszbx.child import memory as memory_module
from nfszbx.child.memory import MAX_GROWTH_BYTES, Memory, read_resident_bytes

_TAKES_MEMORY = """
import sys
taken = []
for line in sys.stdin:
    taken.append(b"x" * int(line))
    print(flush=True)
"""


def test_process_that_takes_more_and_more() -> None:
    memory = Memory()
    with subprocess.Popen(
        [sys.executable, "-c", _TAKES_MEMORY], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stdout

        def take(count: int) -> None:
            assert process.stdin
            assert process.stdout
            process.stdin.write(b"%d\n" % count)
            process.stdin.flush()
            process.stdout.readline()

        take(1)
        assert not memory.has_grown(process.pid)
        take(MAX_GROWTH_BYTES // 2)
        assert not memory.has_grown(process.pid)
        take(MAX_GROWTH_BYTES // 2 + (16 << 20))
        assert memory.has_grown(process.pid)
        assert not Memory().has_grown(process.pid)
        process.stdin.close()
    assert not memory.has_grown(process.pid)


def test_another_child_is_compared_with_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {1: 100, 2: 2 * MAX_GROWTH_BYTES}
    monkeypatch.setattr(memory_module, "read_resident_bytes", sizes.get)
    memory = Memory()
    assert not memory.has_grown(1)
    assert not memory.has_grown(2)
    sizes[2] += MAX_GROWTH_BYTES + 1
    assert memory.has_grown(2)
    assert not memory.has_grown(None)


def test_resident_memory_is_that_of_the_kernel() -> None:
    kilobytes = subprocess.run(
        ["ps", "-o", "rss=", "-p", str(os.getpid())], capture_output=True, text=True, check=True
    )
    assert read_resident_bytes(os.getpid()) == pytest.approx(int(kilobytes.stdout) * 1024, rel=0.05)

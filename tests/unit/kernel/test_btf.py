"""Types that the real tools have written, in either byte order."""

import sys
from array import array
from pathlib import Path

import pytest

from nfszbx.kernel.btf import Btf

FIXTURES = Path(__file__).parents[2] / "fixtures" / "btf"
KERNEL = (FIXTURES / "kernel.btf").read_bytes()
MODULE = (FIXTURES / "module.btf").read_bytes()
HEADER_BYTES = 24


def swap(data: bytes) -> bytes:
    """The same on a machine of the other byte order: all but strings are words."""
    types = int.from_bytes(data[12:16], sys.byteorder)
    words = array("I", data[4 : HEADER_BYTES + types])
    words.byteswap()
    return data[1::-1] + data[2:4] + words.tobytes() + data[HEADER_BYTES + types :]


@pytest.fixture(params=["as recorded", "swapped"])
def kernel(request: pytest.FixtureRequest) -> Btf:
    return Btf(KERNEL if request.param == "as recorded" else swap(KERNEL))


@pytest.mark.parametrize(
    ("path", "offset"),
    [
        ("mnt_hash.prev", 8),
        ("mnt_count", 16),
        ("mnt", 24),
        ("mnt.mnt_flags", 32),  # behind const and volatile
        ("mnt_id_unique", 40),  # in a union without a name, in a structure without a name
        ("halves.high", 44),
        ("name", 48),
        ("state", 60),
        ("ratio", 64),
        ("call", 72),
    ],
)
def test_offset(path: str, offset: int, kernel: Btf) -> None:
    assert kernel.offset_of("mount", path) == offset


@pytest.mark.parametrize(
    ("structure", "path", "reason"),
    [
        ("mount", "mnt_id", "struct mount has no member mnt_id"),
        ("mount", "mnt.mnt_id", "struct mount has no member mnt.mnt_id"),
        ("mount", "mnt_count.low", "mnt_count of struct mount has no members"),
        ("mount", "other_bits", "other_bits of struct mount is a bit field"),
        ("svc_export", "flags", "the kernel's BTF has no struct svc_export"),
        ("announced", "flags", "the kernel's BTF has no struct announced"),
    ],
)
def test_what_is_not_there_has_a_reason(
    structure: str, path: str, reason: str, kernel: Btf
) -> None:
    with pytest.raises(LookupError, match=f"^{reason}$"):
        kernel.offset_of(structure, path)


def test_size(kernel: Btf) -> None:
    assert kernel.size_of("mount") == 80
    assert kernel.has("mount")
    assert not kernel.has("announced")


@pytest.mark.parametrize("order", [bytes, swap])
def test_module_goes_on_where_the_kernel_ends(order: type[bytes]) -> None:
    module = Btf(order(MODULE), Btf(order(KERNEL)))
    assert module.size_of("svc_export") == 32
    assert module.offset_of("svc_export", "ex_path.mnt.mnt_flags") == 24  # the kernel's type
    assert module.offset_of("mount", "mnt.mnt_flags") == 32


@pytest.mark.parametrize("data", [b"", b"\x9f\xeb", KERNEL[:20], KERNEL[:200], KERNEL[:-1]])
def test_what_is_no_btf_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="BTF"):
        Btf(data)

"""Where nfsd keeps its data: from types, assumed, or not known."""

import shutil
from pathlib import Path

import pytest

from nfszbx.kernel.btf import Btf
from nfszbx.kernel.facts import NFS_OFFSETS, Presence
from nfszbx.kernel.nfs_layout import find_layout, read_layout

BTF = Path(__file__).parents[2] / "fixtures" / "btf"
KERNEL = Btf((BTF / "kernel.btf").read_bytes())
MODULE = Btf((BTF / "module.btf").read_bytes(), KERNEL)


def test_every_offset_is_there_or_missing_with_a_reason() -> None:
    for nfsd, modules_have_types in ((None, False), (None, True), (MODULE, True)):
        layout = find_layout(KERNEL, nfsd, modules_have_types=modules_have_types)
        assert {*layout.offsets} | {*layout.missing} == NFS_OFFSETS
        assert not {*layout.offsets} & {*layout.missing}
        assert all(fact.is_absent and fact.reason for fact in layout.missing.values())


def test_types_of_the_module_come_from_its_own() -> None:
    layout = find_layout(KERNEL, MODULE, modules_have_types=True)
    assert layout.offsets["ex_mnt"] == 16
    assert layout.missing["fh_export"].reason == "the kernel's BTF has no struct svc_fh"
    assert not layout.is_assumed


def test_unique_number_of_a_mount_is_preferred() -> None:
    layout = find_layout(KERNEL, MODULE, modules_have_types=True)
    assert layout.mount_id_is_unique
    assert layout.offsets["mnt_id"] == 40 - 24  # counted from mnt


def test_kernel_without_types_of_modules_has_constants() -> None:
    layout = find_layout(KERNEL, None, modules_have_types=False)
    assert layout.is_assumed
    assert layout.need("op_size", "res_opcnt", "fh_export", "svsk_sk").is_present


def test_other_modules_with_types_and_not_nfsd_is_no_reason_to_assume() -> None:
    layout = find_layout(KERNEL, None, modules_have_types=True)
    assert not layout.is_assumed
    assert layout.need("fh_export").is_absent


@pytest.mark.parametrize(
    ("files", "presence", "reason"),
    [
        ({}, Presence.ABSENT, "nfsd is not loaded"),
        ({"proc/fs/nfsd": ""}, Presence.ABSENT, "nfsd is not loaded"),
        ({"sys/module/nfsd": ""}, Presence.UNKNOWN, "No such file"),
        (
            {"proc/fs/nfsd/threads": "0", "sys/kernel/btf/vmlinux": "none"},
            Presence.UNKNOWN,
            "no BTF",
        ),
    ],
)
def test_layout_that_cannot_be_read(
    files: dict[str, str], presence: Presence, reason: str, tmp_path: Path
) -> None:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text) if text else path.mkdir()
    fact = read_layout(tmp_path).need("fh_export")
    assert fact.presence is presence
    assert reason in fact.reason


def test_layout_of_a_machine(tmp_path: Path) -> None:
    folder = tmp_path / "sys/kernel/btf"
    folder.mkdir(parents=True)
    (tmp_path / "sys/module/nfsd").mkdir(parents=True)
    shutil.copy(BTF / "kernel.btf", folder / "vmlinux")
    assert read_layout(tmp_path).is_assumed
    shutil.copy(BTF / "module.btf", folder / "nfsd")
    assert read_layout(tmp_path) == find_layout(KERNEL, MODULE, modules_have_types=True)

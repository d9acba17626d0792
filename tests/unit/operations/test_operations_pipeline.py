"""From dumps and the kernel's own counts to samples."""

from pathlib import Path

from nfszbx import catalog_operations as catalog
from nfszbx.config import Config
from nfszbx.kernel.facts import facts_from_json
from nfszbx.operations.dump import DataOperation, Kind, OperationsDump, Origin, Request
from nfszbx.operations.kernel_counts import KernelReading
from nfszbx.operations.pipeline import OperationsPipeline
from nfszbx.operations.plan import make_operations_plan

FACTS = Path(__file__).parents[2] / "fixtures/facts/debian13-6.12.json"
SECOND = 1_000_000_000
CLIENT = Origin("10.0.0.1", 30, 0, 0)


def make_pipeline() -> OperationsPipeline:
    facts = facts_from_json(FACTS.read_text(), FACTS.name)
    return OperationsPipeline(make_operations_plan(facts, Config()), Config(), lambda *_: "/srv")


def make_dump(end: int, reads: int, read_bytes: int) -> OperationsDump:
    requests = {(Request(3, 0, 0, Kind.EXECUTED, 0, 6), CLIENT): reads}
    moved = {(DataOperation(3, 0, 6), CLIENT): read_bytes}
    return OperationsDump(SECOND, end * SECOND, requests, moved)


def read_kernel(at: int, reads: int, read_bytes: int) -> KernelReading:
    text = f"io {read_bytes} 5000\nproc3 22{' 0' * 6} {reads}{' 0' * 15}\n"
    return KernelReading(text, at * SECOND)


def test_what_found_no_place_in_the_maps_is_told() -> None:
    """Operations and bytes alike; nothing has grown with them, so only the kernel knows."""
    pipeline = make_pipeline()
    assert pipeline.take_dump(make_dump(2, 1, 100), read_kernel(3, 51, 7100))
    assert pipeline.take_dump(make_dump(60, 2, 200), read_kernel(61, 55, 7600))
    assert pipeline.take_dump(make_dump(120, 2, 200), read_kernel(121, 55, 7600))
    assert pipeline.take_dump(make_dump(180, 2, 200), read_kernel(181, 55, 7600))
    samples = pipeline.make_samples(8, is_up=True, is_new=True)
    told = {(each.metric, each.labels): each.value for each in samples}
    assert told[catalog.UNCOUNTED, ("3", "READ")] == 3
    assert told[catalog.UNCOUNTED, ("3", "GETATTR")] == 0
    assert told[catalog.UNCOUNTED_BYTES, ("read",)] == 400
    assert told[catalog.UNCOUNTED_BYTES, ("write",)] == 0

"""From dumps and the kernel's own counts to samples."""

from pathlib import Path

from nfszbx import catalog_operations as catalog
from nfszbx.config import Config
from nfszbx.kernel.facts import facts_from_json
from nfszbx.operations.dump import DataOperation, Kind, OperationsDump, Origin, Request
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


def kernel_counts(reads: int, read_bytes: int) -> str:
    return f"io {read_bytes} 5000\nproc3 22{' 0' * 6} {reads}{' 0' * 15}\n"


def test_what_found_no_place_in_the_maps_is_told() -> None:
    """Operations and bytes alike; nothing has grown with them, so only the kernel knows."""
    pipeline = make_pipeline()
    assert pipeline.take_dump(make_dump(2, 1, 100), kernel_counts(51, 7100))
    assert pipeline.take_dump(make_dump(3, 2, 200), kernel_counts(55, 7600))
    assert pipeline.take_dump(make_dump(4, 2, 200), kernel_counts(55, 7600))
    samples = pipeline.make_samples(8, is_up=True, is_new=True)
    told = {(each.metric, each.labels): each.value for each in samples}
    assert told[catalog.UNCOUNTED, ("3", "READ")] == 3
    assert told[catalog.UNCOUNTED, ("3", "GETATTR")] == 0
    assert told[catalog.UNCOUNTED_BYTES, ("read",)] == 400
    assert told[catalog.UNCOUNTED_BYTES, ("write",)] == 0

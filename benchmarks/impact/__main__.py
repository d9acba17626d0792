"""What the server feels: ``python -m benchmarks.impact``, as root.

    python -m benchmarks.impact               this machine
    python -m benchmarks.impact lab           a virtual machine
    python -m benchmarks.impact here FOLDER   inside of it, as JSON

In each round a client does the same work with nothing else beside it, with nfszbx, and with each
of the other programs, in turn and in another order each time. Throughput and the 99th percentile of
single reads are compared with those of the same round with nothing beside them; so is a second time
with nothing, which tells how much is chance. Writes ``benchmarks/results/impact/NAME.json``. Needs
samba, python3-samba, nethogs and libbpf-tools.
"""

import json
import signal
import sys
import tempfile
from pathlib import Path

from benchmarks.impact.lab import measure_in_machine
from benchmarks.impact.measuring import Result
from benchmarks.impact.native import measure_natively
from benchmarks.impact.tables import RESULTS
from benchmarks.kernel.contenders import TCPTOP
from tests.vm.image import get_image
from tests.vm.machine import Machine, pack_checkout
from tests.vm.matrix import ROWS

KERNEL = "6.12"
_MARK = "result "
_LAB_SECONDS = 7200.0


def measure_in_lab() -> Result:
    """In a virtual machine."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        archive = Path(name) / "files.tar"
        pack_checkout(archive, TCPTOP)
        with Machine(get_image(ROWS[KERNEL]), archive, counts_instructions=True) as machine:
            outcome = machine.run("python3 -m benchmarks.impact here /src", _LAB_SECONDS)
    assert outcome.status == 0, outcome.output
    (line,) = [line for line in outcome.output.splitlines() if line.startswith(_MARK)]
    result: Result = json.loads(line.removeprefix(_MARK))
    return result


def main() -> None:
    """Do what the arguments say."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    match sys.argv[1:]:
        case ["here", folder]:
            print(_MARK + json.dumps(measure_in_machine(Path(folder))))
        case ["lab"]:
            _write("lab", measure_in_lab())
        case []:
            _write("native", measure_natively())
        case other:
            sys.exit(f"not known: {other}")


def _write(name: str, result: Result) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


main()

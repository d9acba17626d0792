"""What counting costs the kernel: ``python -m benchmarks.kernel``, as root.

    python -m benchmarks.kernel                   this machine, with both bpftraces
    python -m benchmarks.kernel lab [KERNEL ...]  the kernels of the matrix, in virtual machines
    python -m benchmarks.kernel here FOLDER       this machine, with its own bpftrace, as JSON

All contenders run at once on the same calls of a server over loopback, in rounds; the kernel's own
BPF statistics tell what each has taken. Writes ``benchmarks/results/kernel/NAME.json``, from which
``benchmarks.performance`` makes tables. Needs clang, libbpf-dev, libelf-dev, zlib1g-dev and
libbpf-tools.
"""

import json
import sys
import tempfile
from pathlib import Path

from benchmarks.bpftraces import find_bpftraces, find_own_bpftrace
from benchmarks.kernel.contenders import TCPTOP, build_by_hand
from benchmarks.kernel.measuring import Result, measure
from nfszbx.kernel.read import read_facts
from tests.vm.image import get_image
from tests.vm.machine import Machine, pack_checkout
from tests.vm.matrix import ROWS

RESULTS = Path(__file__).parents[1] / "results" / "kernel"
_MARK = "result "
_LAB_SECONDS = 1800.0


def write(name: str, result: Result) -> None:
    """Keep it, and tell."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"{name}: {result['kernel']}, bpftrace {result['bpftrace']}", flush=True)


def measure_here(built: Path) -> None:
    """This machine, with both bpftraces."""
    for bpftrace in find_bpftraces():
        write(f"native-{bpftrace.version}", measure(read_facts(), bpftrace, built))


def measure_in_lab(built: Path, kernel: str) -> None:
    """A kernel of the matrix, in a virtual machine."""
    archive = built / "files.tar"
    pack_checkout(archive, built / "hand_written", built / "hand_written.bpf.o", TCPTOP)
    with Machine(get_image(ROWS[kernel]), archive) as machine:
        outcome = machine.run("python3 -m benchmarks.kernel here /src", _LAB_SECONDS)
    assert outcome.status == 0, outcome.output
    (line,) = [line for line in outcome.output.splitlines() if line.startswith(_MARK)]
    write(f"lab-{kernel}", json.loads(line.removeprefix(_MARK)))


def main() -> None:
    """Do what the arguments say."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["here"]:
        result = measure(read_facts(), find_own_bpftrace(), Path(arguments[1]))
        print(_MARK + json.dumps(result))
        return
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        built = Path(name)
        build_by_hand(built)
        if arguments[:1] == ["lab"]:
            for kernel in arguments[1:] or ROWS:
                measure_in_lab(built, kernel)
        else:
            measure_here(built)


main()

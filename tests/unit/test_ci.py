"""What CI runs."""

import re
from pathlib import Path

from tests.vm.matrix import ROWS

REPOSITORY = Path(__file__).parent.parent.parent


def test_every_row_of_the_matrix_has_its_turn() -> None:
    """Once, whichever side takes it."""
    commands = re.findall(r"make test-vm KERNEL=(\S+)", (REPOSITORY / ".ci/run").read_text())
    kernels = [kernel for command in commands for kernel in command.rstrip("'").split(",")]
    assert sorted(kernels) == sorted(ROWS)

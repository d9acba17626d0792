"""Opens a shell in a test machine: ``make vm KERNEL=6.12``."""

import sys

from tests.debian import BuildError
from tests.vm.image import get_image
from tests.vm.machine import Machine, MachineLostError
from tests.vm.matrix import ROWS


def main() -> None:
    """Boot the row of the first argument and hand its console over."""
    kernel = sys.argv[1] if len(sys.argv) > 1 else ""
    if kernel not in ROWS:
        sys.exit(f"no kernel '{kernel}' in the matrix; choose one: make vm KERNEL={'|'.join(ROWS)}")
    try:
        print(f"booting {kernel}; the checkout is in /src; end with exit")
        with Machine(get_image(ROWS[kernel])) as machine:
            machine.interact()
    except (BuildError, MachineLostError) as error:
        sys.exit(str(error))


main()

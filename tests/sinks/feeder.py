"""Feeds the sink for Zabbix with intervals, of which the n-th has received n bytes.

``python -m tests.sinks.feeder DIRECTORY HOST SERVER FIRST END`` prints ``fed`` as soon as the
intervals up to ``END`` are on disk, then waits to be killed.
"""

import sys
import time
from pathlib import Path

from tests.sinks.test_zabbix import make_samples, sink

BEGIN = 1_790_000_000


def main() -> None:
    """Feed."""
    directory, host, server, first, end = sys.argv[1:]
    with sink(Path(directory), host, server) as opened:
        for number in range(int(first), int(end)):
            opened.put(make_samples(BEGIN + 10 * number + 0.25, number))
        # Of each interval the totals and the clients, those that wait from before included.
        while opened.healths()[0].queue_length < 2 * int(end):
            time.sleep(0.01)
        sys.stdout.write("fed\n")
        sys.stdout.flush()
        time.sleep(3600)


if __name__ == "__main__":
    main()

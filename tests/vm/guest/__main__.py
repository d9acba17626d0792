"""Inside a machine: ``python3 -m tests.vm.guest prepare|count|SCENARIO ...``."""

import json
import sys
import time
from collections.abc import Callable

from tests.vm.guest import servers
from tests.vm.guest.clients import make_clients
from tests.vm.guest.counting import Way, describe_intervals, list_drifts, start_ways
from tests.vm.guest.other_tools import start_other_tools
from tests.vm.guest.scenarios import SCENARIOS

SERVERS: dict[str, Callable[[], object]] = {
    "nfsd": servers.start_nfsd,
    "smbd": servers.start_smbd,
    "ksmbd": servers.start_ksmbd,
}


def main() -> None:
    """Do what the first argument says."""
    match sys.argv[1:]:
        case ["prepare"]:
            make_clients()
        case ["count" | "count-bytes" as what, *ways]:
            start_ways(ways, with_operations=what == "count")
        case ["count-operations", way]:
            Way(way).count_operations()
        case ["compare"]:
            print("other tools: " + " ".join(start_other_tools()))
        case ["drifts", way]:
            audits, drifts = list_drifts(way)
            print(f"{audits} audits, drifts: {'; '.join(drifts) or 'none'}")
        case ["intervals", way, seconds]:
            print(json.dumps(describe_intervals(way, float(seconds))))
        case ["serve", *names]:
            for name in names:
                SERVERS[name]()
        case [name]:
            SCENARIOS[name]()
        case other:
            sys.exit(f"not known: {other}")
    print(f"done after {time.process_time():.1f} s of processor time")


main()

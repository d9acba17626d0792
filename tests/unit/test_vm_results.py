"""How the matrix judges what its machines print: it must be able to fail."""

import json

from benchmarks.accuracy import PAGE, render_page
from tests.vm.results import Comparison, read_measurements

ROW = {"service": "nfsd", "client": "10.9.1.2", "direction": "receive", "kernel_bytes": 1000}


def make_output(kprobe: int, tracepoint: int) -> str:
    row = {**ROW, "counted_bytes": {"kprobe": kprobe, "tracepoint": tracepoint}}
    result = json.dumps({"workload": "large file", "rows": [row]})
    return f"noise\nresult {result}\ndone after 3 s\n"


def test_equal_bytes_are_no_difference() -> None:
    (measurement,) = read_measurements(make_output(1000, 1000))
    assert measurement.find_differences("kprobe") == []
    comparison = Comparison()
    assert comparison.add([measurement], ["kprobe", "tracepoint"]) == []
    assert comparison.describe() == "1 workloads, 2,000 bytes compared, differences: 0"


def test_one_byte_is_a_difference_that_names_its_row() -> None:
    (measurement,) = read_measurements(make_output(999, 1001))
    comparison = Comparison()
    assert comparison.add([measurement], ["kprobe"]) == [
        "large file: nfsd 10.9.1.2 receive: kernel 1000, kprobe 999 (-1)"
    ]
    comparison.add([measurement], ["tracepoint"])
    assert "2,000 bytes compared, differences: 2" in comparison.describe()


def test_page_is_made_of_the_results() -> None:
    """Run ``python -m benchmarks.accuracy`` after new results."""
    assert PAGE.read_text(encoding="utf-8") == render_page()

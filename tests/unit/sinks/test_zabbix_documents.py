"""What of the clients in Zabbix outlasts a run of nfszbx."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from nfszbx.config import ZabbixConfig
from nfszbx.sinks.base import Again
from nfszbx.sinks.zabbix import ZabbixDocuments
from nfszbx.zabbix_keys import CLIENTS_KEY, TOTALS_KEY
from tests.sinks.test_zabbix import make_samples

CONFIG = ZabbixConfig.model_validate({"clients_interval_seconds": 10})


def report(documents: ZabbixDocuments, seconds: float, received: int, client: str) -> list[object]:
    """The rows of an interval, without what never changes."""
    samples = make_samples(1_000_000 + seconds, received, client)
    entries = documents.make_entries(samples)
    documents.keep(samples)
    (entry,) = (entry for entry in entries if entry.topic == CLIENTS_KEY)
    return [
        (row["client"], row["receive_bytes_total"], row["receive_bytes_per_second"])
        for row in json.loads(entry.text)["clients"]
    ]


def test_counters_and_places_of_clients_go_on(tmp_path: Path) -> None:
    documents = ZabbixDocuments(CONFIG, tmp_path)
    assert report(documents, 10, 70, "::1") == [("::1", 70, 7), ("other", 0, 0)]
    # It is killed here, and starts again.
    again = ZabbixDocuments(CONFIG, tmp_path)
    expected = [("::1", 70, 0), ("::2", 50, 5), ("other", 0, 0)]
    assert report(again, 20, 50, "::2") == expected
    again.close()
    third = ZabbixDocuments(CONFIG, tmp_path)
    assert report(third, 30, 10, "::1") == [("::1", 80, 1), ("::2", 50, 0), ("other", 0, 0)]
    third.close()
    documents.close()


def test_directory_that_cannot_be_used(tmp_path: Path) -> None:
    """The spool tells of it; documents are made all the same."""
    (tmp_path / "file").touch()
    documents = ZabbixDocuments(CONFIG, tmp_path / "file")
    for seconds in (10, 20):
        assert report(documents, seconds, 10, "::1")[0] == ("::1", seconds, 1)
    documents.close()


def give(documents: ZabbixDocuments, number: int, client: str = "::1") -> tuple[list[str], int]:
    """The topics of the entries of an interval of 10 bytes, and what is kept then."""
    samples = replace(make_samples(1_000_000 + 5 * number, 10, client), number=number, seconds=5.0)
    return [entry.topic for entry in documents.make_entries(samples)], documents.keep(samples)


@pytest.mark.parametrize("died_after", ["spool", "report"])
def test_intervals_that_come_again_are_counted_once(died_after: str, tmp_path: Path) -> None:
    """Clients are told of every second interval: the process may end before, within and after."""
    documents = ZabbixDocuments(CONFIG, tmp_path)
    assert give(documents, 1) == ([TOTALS_KEY], 0)
    assert give(documents, 2) == ([TOTALS_KEY, CLIENTS_KEY], 2)
    assert give(documents, 3) == ([TOTALS_KEY], 2)
    if died_after == "report":
        assert give(documents, 4) == ([TOTALS_KEY, CLIENTS_KEY], 4)
    # The other process has heard of three intervals in the spool, and of two that are done with.
    waiting = {number: 1_000_000.0 + 5 * number for number in (3, 4)}
    again = ZabbixDocuments(CONFIG, tmp_path, Again(3, 2, waiting))
    first = give(again, 3)
    if died_after == "spool":
        assert first == ([], 2)
        assert give(again, 4) == ([TOTALS_KEY, CLIENTS_KEY], 4)
    else:
        assert first == ([], 4)
        assert give(again, 4) == ([TOTALS_KEY], 4)
    assert give(again, 5) == ([TOTALS_KEY], 4)
    samples = replace(make_samples(1_000_030, 10), number=6, seconds=5.0)
    entry = again.make_entries(samples)[-1]
    (row, _) = json.loads(entry.text)["clients"]
    assert row["receive_bytes_total"] == 6 * 10
    for each in (documents, again):
        each.close()

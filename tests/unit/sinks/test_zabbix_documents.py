"""What of the clients in Zabbix outlasts a run of nfszbx."""

import json
from pathlib import Path

from nfszbx.config import ZabbixConfig
from nfszbx.sinks.zabbix import ZabbixDocuments
from nfszbx.zabbix_keys import CLIENTS_KEY
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

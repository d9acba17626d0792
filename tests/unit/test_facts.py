"""Facts travel as JSON from one machine to another."""

from pathlib import Path

import pytest

from nfszbx.errors import ConfigurationError
from nfszbx.kernel.facts import facts_from_json, facts_to_json

FACTS = Path(__file__).parents[1] / "fixtures" / "facts"


@pytest.mark.parametrize("path", sorted(FACTS.glob("*.json")), ids=lambda path: path.stem)
def test_round_trip(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert facts_to_json(facts_from_json(text, "file")) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "f.json is not a facts file: document"),
        ("{}", "f.json is not a facts file: release"),
        ("[1]", "f.json is not a facts file"),
    ],
)
def test_not_facts(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        facts_from_json(text, "f.json")
    assert "nfszbx facts > FILE" in caught.value.hint


def test_facts_of_another_version_lack_a_name() -> None:
    text = (FACTS / "debian12-6.1.json").read_text(encoding="utf-8")
    with pytest.raises(ConfigurationError, match="lacks tcp_sendpage"):
        facts_from_json(text.replace('"tcp_sendpage"', '"tcp_recvpage"'), "old.json")

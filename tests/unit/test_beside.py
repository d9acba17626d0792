"""Each part begins anew only for settings of its own."""

import pytest

from nfszbx import beside
from nfszbx.beside import Beside
from nfszbx.config import Config, SmbConfig
from nfszbx.samples import Sample


class FakeMonitor:
    def __init__(self, *_: object) -> None:
        self.configs: list[Config] = []

    def change_config(self, config: Config) -> None:
        self.configs.append(config)

    def poll(self) -> None: ...


class FakeSessions:
    begun = 0

    def __init__(self, _: SmbConfig) -> None:
        FakeSessions.begun += 1

    def poll(self) -> tuple[Sample, ...]:
        return ()

    def close(self) -> None: ...


def test_sessions_begin_anew_for_their_own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """And operations find out by themselves."""
    monitor = FakeMonitor()
    monkeypatch.setattr(FakeSessions, "begun", 0)
    monkeypatch.setattr(beside, "OperationsMonitor", lambda *_: monitor)
    monkeypatch.setattr(beside, "SmbSessions", FakeSessions)
    made = Beside(Config(), None)  # type: ignore[arg-type]  # nobody asks
    for number, settings in (
        (1, {"operations": {"labels": ["client"]}}),
        (2, {"smb": {"shares": True}}),
        (2, {"smb": {"shares": True}, "client_idle_seconds": 60}),
        (3, {}),
    ):
        made.change_config(Config.model_validate(settings))
        made.poll()
        assert FakeSessions.begun == number
    assert len(monitor.configs) == 4

"""Who is connected to a real smbd, by its own smbstatus."""

import time
from collections.abc import Callable

import pytest

from nfszbx import catalog_smb
from nfszbx.config import SmbConfig
from nfszbx.samples import Sample
from nfszbx.smb import sessions
from nfszbx.smb.sessions import SmbSessions
from tests.live.samba import OTHER_SHARE, SHARE, USER, SambaServer
from tests.requirements import require


def test_rows_come_and_go_with_connections(
    samba: SambaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    require("smbstatus", "smbpasswd")
    program = samba.make_smbstatus()
    monkeypatch.setattr(sessions, "find_program", lambda _name: program)
    monkeypatch.setattr(sessions, "INTERVAL_SECONDS", 0.0)
    samba.add_user()
    poller = SmbSessions(SmbConfig(sessions=True, shares=True))

    def wait_for(condition: Callable[[set[Sample]], bool]) -> None:
        deadline = time.monotonic() + 30
        samples: set[Sample] = set()
        while not condition(samples):
            assert time.monotonic() < deadline, samples
            samples = set(poller.poll() or samples)
            time.sleep(0.02)

    server, client = samba.own_address, samba.own_client
    as_user = Sample(catalog_smb.SESSIONS, (client, USER), 2)
    as_guest = Sample(catalog_smb.SESSIONS, (client, "nobody"), 1)
    shares = {
        Sample(catalog_smb.TREE_CONNECTS, (client, SHARE), 2),
        Sample(catalog_smb.TREE_CONNECTS, (client, OTHER_SHARE), 1),
    }
    with samba.connect(server), samba.connect(server, as_user=True):
        with samba.connect(server, share=OTHER_SHARE, as_user=True):
            wait_for(lambda samples: {as_user, as_guest} | shares <= samples)
        wait_for(lambda samples: Sample(catalog_smb.SESSIONS, (client, USER), 1) in samples)
    wait_for(lambda samples: bool(samples) and not any(client in s.labels for s in samples))
    poller.close()

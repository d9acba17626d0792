"""What is measured beside traffic, at a slower pace: NFS operations, and who uses Samba."""

from nfszbx.config import Config
from nfszbx.kernel.facts import KernelFacts
from nfszbx.operations.monitor import OperationsMonitor
from nfszbx.samples import Sample
from nfszbx.smb.sessions import SmbSessions


class Beside:
    """Belongs to the main thread; a turn waits for nothing."""

    def __init__(self, config: Config, facts: KernelFacts) -> None:
        self._operations = OperationsMonitor(config, facts)
        self._smb = config.smb
        self._sessions = SmbSessions(config.smb)
        self.sessions: tuple[Sample, ...] = ()
        """What was last heard of SMB sessions: few, so each interval tells them."""

    def poll(self) -> None:
        """Do what is due."""
        self._operations.poll()
        sessions = self._sessions.poll()
        if sessions is not None:
            self.sessions = sessions

    def take_operations(self) -> tuple[Sample, ...] | None:
        """All there is to say of NFS operations, when there is something new."""
        return self._operations.take_news()

    def change_config(self, config: Config) -> None:
        """Go on with other settings: what does not depend on those that changed is not touched."""
        self._operations.change_config(config)
        if config.smb != self._smb:
            self._smb = config.smb
            self._sessions.close()
            self._sessions, self.sessions = SmbSessions(config.smb), ()

    def stop(self) -> None:
        """Read what is left to read, and end what runs; may be repeated."""
        self._operations.stop()
        self._sessions.close()

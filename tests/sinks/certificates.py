"""Certificates for both sides of a connection, from openssl."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_NEW = ("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-batch")


@dataclass(frozen=True)
class Certificates:
    """An authority, and what it has signed."""

    authority: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path

    @property
    def server_files(self) -> Mapping[str, Path]:
        """By their names in the server's configuration."""
        return {
            "TLSCAFile": self.authority,
            "TLSCertFile": self.server,
            "TLSKeyFile": self.server_key,
        }


def make_certificates(folder: Path, name: str = "test") -> Certificates:
    """A new authority, and a certificate for each side."""
    authority, key = folder / f"{name}-ca.pem", folder / f"{name}-ca.key"
    subject = ("-subj", f"/O=nfszbx/CN={name} authority")
    _run(*_NEW, "-x509", "-days", "2", *subject, "-keyout", str(key), "-out", str(authority))
    made = []
    for side in ("server", "client"):
        certificate, side_key = folder / f"{name}-{side}.pem", folder / f"{name}-{side}.key"
        request = folder / f"{name}-{side}.csr"
        subject = ("-subj", f"/O=nfszbx/CN={name} {side}")
        _run(*_NEW, *subject, "-keyout", str(side_key), "-out", str(request))
        signed = ("-CA", str(authority), "-CAkey", str(key), "-CAcreateserial", "-days", "2")
        _run("openssl", "x509", "-req", "-in", str(request), "-out", str(certificate), *signed)
        made += [certificate, side_key]
    return Certificates(authority, *made)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)

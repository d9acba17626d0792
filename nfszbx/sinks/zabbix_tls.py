"""Encryption of connections to Zabbix: with certificates, or with a pre-shared key."""

import re
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nfszbx.errors import ConfigurationError
from nfszbx.secret_files import explain_unreadable, warn_of_readers

if TYPE_CHECKING:
    from nfszbx.config import ZabbixTlsConfig

# RFC 4514 names for what Python calls the parts of a name.
_SHORT_NAMES = {
    "commonName": "CN",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "streetAddress": "STREET",
    "domainComponent": "DC",
    "userId": "UID",
}


MIN_KEY_BYTES, MAX_KEY_BYTES = 16, 256
"""Of a pre-shared key, as Zabbix takes them (Zabbix manual, Encryption, Size limits)."""


@dataclass(frozen=True)
class Tls:
    """How connections to Zabbix are encrypted."""

    begin: Callable[[socket.socket], socket.socket]
    """Begins it on a connection. Raises OSError, of which ssl.SSLError is one."""
    meaning_of_an_end: str
    """Zabbix does not tell a client what it dislikes; it ends the connection."""


def make_tls(config: "ZabbixTlsConfig") -> Tls | None:
    """As the settings say; None for plain connections.

    Raises :class:`ConfigurationError` for files that cannot be used, and for keys without support.
    """
    match config.connect:
        case "cert":
            return Tls(
                _Certificates(config),
                "the server does not trust our certificate, or takes no certificates",
            )
        case "psk":
            return Tls(
                _make_psk_context(config).wrap_socket,
                "the pre-shared key or its identity is not the one that a host in Zabbix has",
            )
        case _:
            return None


def explain_tls_error(error: ssl.SSLError, tls: Tls | None) -> str:
    """What was wrong."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is not valid under ca_file: {error.verify_message}"
    text = getattr(error, "reason", None) or str(error)  # one of our own has no reason
    return f"{text}; {tls.meaning_of_an_end}" if tls and "EOF" in text else text


@contextmanager
def _naming(key: str, path: str | None) -> Iterator[None]:
    """What the errors of OpenSSL do not name."""
    try:
        yield
    except OSError as error:  # an SSLError is one
        raise ConfigurationError(
            f"zabbix.tls.{key}: {path} cannot be used: {error.strerror or error}",
            explain_unreadable(error, "a file in PEM that this user may read"),
        ) from None


class _Certificates:
    """Both sides show a certificate; the server's is checked as the agent checks it."""

    def __init__(self, config: "ZabbixTlsConfig") -> None:
        self._config = config
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # Zabbix' certificates are not for host names: the authority counts, and the names below.
        self._context.check_hostname = False
        with _naming("ca_file", config.ca_file):
            self._context.load_verify_locations(config.ca_file)
        if config.crl_file:
            with _naming("crl_file", config.crl_file):
                self._context.load_verify_locations(config.crl_file)
            self._context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        with _naming("cert_file or key_file", f"{config.cert_file}, {config.key_file}"):
            self._context.load_cert_chain(str(config.cert_file), config.key_file)

    def __call__(self, connection: socket.socket) -> socket.socket:
        wrapped = self._context.wrap_socket(connection)
        certificate = wrapped.getpeercert() or {}
        for part, expected in (
            ("issuer", self._config.server_cert_issuer),
            ("subject", self._config.server_cert_subject),
        ):
            found = format_name(certificate.get(part, ()))
            if expected and found != expected:
                wrapped.close()
                raise ssl.SSLError(f"the server's certificate has the {part} '{found}'")
        return wrapped


def format_name(name: object) -> str:
    """A name of a certificate as Zabbix writes it: the last part first (RFC 4514)."""
    parts = []
    for relative in name if isinstance(name, tuple) else ():
        pairs = [f"{_SHORT_NAMES.get(key, key)}={_escape(value)}" for key, value in relative]
        parts.append("+".join(pairs))
    return ",".join(reversed(parts))


def _escape(value: str) -> str:
    inside = re.sub(r'([,+"\\<>;])', r"\\\1", value)
    return re.sub(r"^[# ]|(?<!\\) $", r"\\\g<0>", inside)


def read_key(config: "ZabbixTlsConfig") -> bytes:
    """The pre-shared key. Raises :class:`ConfigurationError`."""
    path = Path(str(config.psk_file))
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
        warn_of_readers("zabbix.tls.psk_file", path)
    except OSError as error:
        raise ConfigurationError(
            f"zabbix.tls.psk_file: {path} cannot be read: {error.strerror}",
            explain_unreadable(error, "it has the key of the host's encryption settings in Zabbix"),
        ) from None
    except ValueError:  # not of hexadecimal digits, or not of text
        key = b""
    if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        raise ConfigurationError(
            f"zabbix.tls.psk_file: {path} is no key: it should have {2 * MIN_KEY_BYTES} to "
            f"{2 * MAX_KEY_BYTES} hexadecimal digits in one line",
            "make one with: openssl rand -hex 32",
        )
    return key


def _make_psk_context(config: "ZabbixTlsConfig") -> ssl.SSLContext:
    """A context for a key of our own.

    Python's ssl has it since 3.13; before, the package sslpsk3 adds it.
    """
    key = read_key(config)
    identity = config.psk_identity
    if sys.version_info >= (3, 13):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.set_psk_client_callback(lambda _: (identity, key))
    else:
        context = _make_older_psk_context(str(identity), key)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the key proves both sides
    # Keys of TLS 1.3 are another mechanism, which Python does not offer.
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("PSK")
    return context


def _make_older_psk_context(identity: str, key: bytes) -> ssl.SSLContext:
    try:
        from sslpsk3 import SSLPSKContext  # noqa: PLC0415  an extra, needed before Python 3.13 only
    except ImportError:
        raise ConfigurationError(
            "zabbix.tls.connect: this Python cannot encrypt with a pre-shared key",
            f"{sys.executable} -m pip install sslpsk3; or use Python 3.13 or later, or "
            "certificates",
        ) from None
    context: ssl.SSLContext = SSLPSKContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_psk_client_callback(lambda _: (identity, key))  # type: ignore[attr-defined]
    return context

"""Zabbix' JSON-RPC API, through zabbix-utils; the one module that uses its half for the API.

Its faults as of 2.0.4: it takes a user, a password, a token and a URL from ``ZABBIX_*`` variables
of the environment, also against its arguments; it refuses versions that are newer than itself; it
compares versions as decimal fractions, so that 7.10 would be 7.1; a server that stops in the middle
of an answer raises whatever the socket raises; its errors carry the request.
"""

import os
import re
import ssl
from http.client import HTTPException
from pathlib import Path
from typing import Any

from zabbix_utils import ZabbixAPI
from zabbix_utils.exceptions import APIRequestError, ProcessingError

from nfszbx.config import ZabbixApiConfig
from nfszbx.errors import ConfigurationError, ZabbixError
from nfszbx.secret_files import warn_of_readers

TIMEOUT_SECONDS = 60
"""For an answer; importing a template takes some seconds on a busy server."""
OLDEST = (6, 0)
_HOW_TO_GET_ONE = (
    "make an API token in Zabbix (Users, API tokens; in 6.0: Administration, General), put it into "
    "a file that only root may read, and name that with zabbix.api.token_file"
)
# The last three are answers that have not the form of an answer.
_FAILURES = (
    *(ProcessingError, OSError, HTTPException, ValueError),
    *(TypeError, AttributeError, KeyError),
)


_RIGHTS = (
    "the token's user needs the role Admin or more, and must be allowed to write to the groups of "
    "the host and of the template; the log of the Zabbix frontend may tell more"
)


class ZabbixApi:
    """A session with an API token."""

    version: tuple[int, int]
    """Of the server: ``(7, 0)``."""

    def __init__(self, config: ZabbixApiConfig) -> None:
        """Asks for the version, and tries the token.

        Raises :class:`ConfigurationError` without a URL or a token, and :class:`ZabbixError` when
        there is no such API, it is too old, or does not take the token.
        """
        if not config.url:
            raise ConfigurationError(
                "zabbix.api.url is not set", "the URL of the Zabbix frontend, as in a browser"
            )
        token = _read_token(config)
        for name in [name for name in os.environ if name.startswith("ZABBIX_")]:
            del os.environ[name]
        context = _make_context(config)
        try:
            self._api = ZabbixAPI(
                config.url, skip_version_check=True, ssl_context=context, timeout=TIMEOUT_SECONDS
            )
            text = str(self._api.version)
        except _FAILURES as error:
            raise _explain_no_api(config.url, error) from None
        self.version = _parse_version(text)
        if self.version < OLDEST:
            raise ZabbixError(f"Zabbix {text} is too old", "6.0 is the oldest that works")
        self._api.login(token=token)
        try:
            self._api.send_api_request("user.get", {"output": ["userid"], "limit": 1})
        except APIRequestError as error:
            raise ZabbixError(
                f"Zabbix does not take the API token: {error}",
                f"it may be wrong, expired, disabled, or of another Zabbix; {_HOW_TO_GET_ONE}",
            ) from None
        except _FAILURES as error:
            raise ZabbixError(f"Zabbix does not answer user.get: {error}", _RIGHTS) from None

    def call(self, method: str, params: object) -> Any:  # noqa: ANN401  as it is
        """The result of a method. Raises :class:`ZabbixError` with what Zabbix says."""
        try:
            return self._api.send_api_request(method, params)["result"]
        except APIRequestError as error:
            raise ZabbixError(f"Zabbix refuses {method}: {error}", _RIGHTS) from None
        except _FAILURES as error:
            raise ZabbixError(f"Zabbix does not answer {method}: {error}", _RIGHTS) from None


def _explain_no_api(url: str, error: Exception) -> ZabbixError:
    """zabbix-utils puts Python's own words around the cause; it stands in the context."""
    cause = getattr(error.__context__, "reason", None)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return ZabbixError(
            f"zabbix.api.url: the certificate of {url} is not trusted: {cause.verify_message}",
            "name the file of the authority that has signed it with zabbix.api.ca_file",
        )
    if isinstance(cause, OSError):
        text = getattr(cause, "reason", None) or cause.strerror or cause
        hint = "are the name, the port, and http or https right, and is the web server running?"
        return ZabbixError(f"zabbix.api.url: cannot connect to {url}: {text}", hint)
    return ZabbixError(
        f"zabbix.api.url: there is no Zabbix API at {url}: {cause or error}",
        "it is what a browser shows of the frontend, without index.php",
    )


def _read_token(config: ZabbixApiConfig) -> str:
    if config.token is not None:
        token = config.token.get_secret_value()
    elif config.token_file is not None:
        try:
            lines = Path(config.token_file).read_text(encoding="utf-8").splitlines()
            warn_of_readers("zabbix.api.token_file", Path(config.token_file))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"zabbix.api.token_file: cannot read {config.token_file}: {error}", _HOW_TO_GET_ONE
            ) from None
        token = lines[0].strip() if lines else ""
    else:
        raise ConfigurationError("zabbix.api.token_file is not set", _HOW_TO_GET_ONE)
    if not re.fullmatch(r"[!-~]+", token):
        origin = f"zabbix.api.token_file: the first line of {config.token_file}"
        raise ConfigurationError(
            f"{'zabbix.api.token' if config.token is not None else origin} is empty, or no token",
            _HOW_TO_GET_ONE,
        )
    return token


def _make_context(config: ZabbixApiConfig) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=config.ca_file)
    except OSError as error:
        raise ConfigurationError(
            f"zabbix.api.ca_file: {config.ca_file} cannot be used: {error}",
            "it has the authority's certificate in PEM",
        ) from None


def _parse_version(text: str) -> tuple[int, int]:
    first, second, *_ = map(int, re.findall(r"\d+", text))
    return first, second

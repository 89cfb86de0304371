"""Alerts by HTTP POST, signed as Stripe and GitHub sign theirs: a time and an HMAC over time and body."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import ssl
import time
import urllib.error
import urllib.request

from f2pnet.address import Address, without
from f2pnet.alerts.subscription import Alert
from f2pnet.config.sinks import WebhookSink
from f2pnet.errors import MissingResource
from f2pnet.text import printable
from pipeline.sinks.base import Sink, SinkAway, SinkRefused

LOGIN_REFUSED = (401, 403, 407)
TRY_LATER = frozenset({408, 425, 429})  # the client errors that speak of time and not of this alert


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A signed alert goes to the address that was configured, or nowhere."""

    def redirect_request(self, *_: object) -> None:
        return None


class Webhook(Sink):
    """The body is the alert's JSON. Headers: `X-F2P-Line`, `X-F2P-Delivery` (the alert's id, the same in each try),
    `X-F2P-Timestamp` (s) and `X-F2P-Signature: sha256=<hex>` over `<timestamp>.<body>`."""

    def __init__(self, config: WebhookSink, line: str) -> None:
        self._address = config.address
        self._timeout_s = config.timeout_s
        self._secret = config.read_secret()
        self._line = line
        self._opener = urllib.request.build_opener(
            _NoRedirects, urllib.request.HTTPSHandler(context=tls_context(config))
        )

    def deliver(self, alert: Alert) -> None:
        try:
            self._ask("POST", alert.data, self._headers(alert))
        except urllib.error.HTTPError as error:
            described = answered(self._address, error)
            if error.code < 500 and error.code not in TRY_LATER:
                raise SinkRefused(described) from None
            raise SinkAway(described) from None

    def probe(self) -> str:
        """Ask for the headers of the address, without sending an alert. Raises SinkAway or SinkRefused."""
        try:
            self._ask("HEAD", None, self._login())
        except urllib.error.HTTPError as error:
            if error.code in LOGIN_REFUSED:
                raise SinkRefused(answered(self._address, error)) from None
            return f"{answered(self._address, error)} to HEAD, which sends no alert"
        return f"{self._address} answers"

    def _ask(self, method: str, body: bytes | None, headers: dict[str, str]) -> None:
        """Raises SinkAway, or HTTPError for an answer that is not a success."""
        url = self._address.without_login
        request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310 - http and https only
        try:
            with self._opener.open(request, timeout=self._timeout_s):
                return
        except urllib.error.HTTPError:
            raise
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error) or type(error).__name__
            described = printable(without(self._address.secrets, reason))
            raise SinkAway(f"{self._address} can't be reached: {described}") from None

    def close(self) -> None:
        """Nothing to let go of: each alert has a connection of its own."""

    def _headers(self, alert: Alert) -> dict[str, str]:
        now = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "f2pnet",
            "X-F2P-Line": self._line,
            "X-F2P-Delivery": alert.id,
            "X-F2P-Timestamp": now,
        }
        headers |= self._login()
        if self._secret is not None:
            signed = hmac.new(self._secret, now.encode() + b"." + alert.data, hashlib.sha256).hexdigest()
            headers["X-F2P-Signature"] = f"sha256={signed}"
        return headers

    def _login(self) -> dict[str, str]:
        login = self._address.basic_auth
        return {} if login is None else {"Authorization": login}


def tls_context(config: WebhookSink) -> ssl.SSLContext:
    """Trust in the system's authorities, or in `ca_file` alone. Raises MissingResource."""
    try:
        return ssl.create_default_context(cafile=None if config.ca_file is None else str(config.ca_file))
    except (OSError, ssl.SSLError) as error:
        raise MissingResource(
            f"sink {config.name}: ca_file {printable(config.ca_file)}: {error.strerror or error}; "
            "wanted the authority's certificate in PEM form"
        ) from None


def answered(address: Address, error: urllib.error.HTTPError) -> str:
    """The receiver's answer, without what it may repeat of the address."""
    error.close()
    return f"{address} answered {error.code} {printable(without(address.secrets, error.reason))}"

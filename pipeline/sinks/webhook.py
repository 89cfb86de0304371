"""Alerts by HTTP POST, signed as Stripe and GitHub sign theirs: a time and an HMAC over time and body."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import time
import urllib.error
import urllib.request

from f2pnet.alerts import Alert
from f2pnet.config.sinks import WebhookSink
from f2pnet.config.sources import redact_url
from pipeline.sinks.base import Sink, SinkAway, SinkRefused

TRY_LATER = frozenset({408, 425, 429})  # the client errors that speak of time and not of this alert


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A signed alert goes to the address that was configured, or nowhere."""

    def redirect_request(self, *_: object) -> None:
        return None


class Webhook(Sink):
    """The body is the alert's JSON. Headers: `X-F2P-Line`, `X-F2P-Delivery` (the alert's id, the same in each try),
    `X-F2P-Timestamp` (s) and `X-F2P-Signature: sha256=<hex>` over `<timestamp>.<body>`."""

    def __init__(self, config: WebhookSink, line: str) -> None:
        self._url = config.url.get_secret_value()
        self._address = redact_url(self._url)
        self._timeout_s = config.timeout_s
        self._secret = config.read_secret()
        self._line = line
        self._opener = urllib.request.build_opener(_NoRedirects)

    def deliver(self, alert: Alert) -> None:
        request = urllib.request.Request(self._url, alert.data, self._headers(alert), method="POST")  # noqa: S310
        try:
            with self._opener.open(request, timeout=self._timeout_s):
                return
        except urllib.error.HTTPError as error:
            error.close()
            if error.code < 500 and error.code not in TRY_LATER:
                raise SinkRefused(f"{self._address} answered {error.code} {error.reason}") from error
            raise SinkAway(f"{self._address} answered {error.code} {error.reason}") from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise SinkAway(f"{self._address} can't be reached: {reason or type(error).__name__}") from error

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
        if self._secret is not None:
            signed = hmac.new(self._secret, now.encode() + b"." + alert.data, hashlib.sha256).hexdigest()
            headers["X-F2P-Signature"] = f"sha256={signed}"
        return headers

"""A small HTTP server for monitoring: /metrics, /healthz, /readyz. Runs in a thread; the work goes on without it."""

from __future__ import annotations

import contextlib
import hmac
import json
import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import structlog
from prometheus_client import CONTENT_TYPE_LATEST

from f2pnet.errors import MissingResource
from pipeline.monitor.health import Health, alive, ready
from pipeline.monitor.metrics import exposition
from pipeline.monitor.snapshot import Snapshot
from pipeline.wire.admission import Admission, Limits

REQUEST_S = 5.0  # a client whose request takes longer is hung up on
MOST_REQUESTS = 16  # at once; a scraper needs one
MOST_OF_AN_ADDRESS = 8
_log = structlog.get_logger(__name__)


class MonitorServer:
    """Answers about the snapshot of the moment. Use as a context manager.

    `token`: what /metrics asks for as `Authorization: Bearer TOKEN`; health answers everybody, with as much as a probe
    needs. Raises MissingResource where the address can't be bound.
    """

    def __init__(self, host: str, port: int, snapshot: Callable[[], Snapshot], token: str | None = None) -> None:
        try:
            self._server = _Server((host, port), _Handler)
        except OSError as error:
            raise MissingResource(
                f"metrics can't be served on {host}:{port} ({error.strerror}): choose another metrics.port"
            ) from error
        self._server.snapshot, self._server.token = snapshot, token
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=REQUEST_S)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    snapshot: Callable[[], Snapshot]
    token: str | None

    def __init__(self, *arguments: Any) -> None:
        limits = Limits(MOST_REQUESTS, MOST_OF_AN_ADDRESS, MOST_OF_AN_ADDRESS, REQUEST_S)
        self._admission = Admission(limits)
        self._lock = threading.Lock()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            let_in = self._admission.admit(request, client_address[0], lambda: _hang_up(request))
        if let_in:
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._admission.gone(request)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Called twice a second: whoever is slow with a request has had enough time."""
        with self._lock:
            self._admission.close_overdue()

    def answering(self, request: Any) -> None:
        """The whole request is there."""
        with self._lock:
            self._admission.serve(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        _log.debug("a client of the metrics hung up", client=str(client_address))


def _hang_up(request: socket.socket) -> None:
    """Its thread notices, and closes it."""
    with contextlib.suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    timeout = REQUEST_S
    server: _Server

    def do_GET(self) -> None:
        self.server.answering(self.request)
        path = self.path.partition("?")[0]
        try:
            snapshot = self.server.snapshot()
            if path == "/metrics":
                self._metrics(snapshot)
            elif path in ("/healthz", "/readyz"):
                self._health((alive if path == "/healthz" else ready)(snapshot))
            else:
                self._answer(HTTPStatus.NOT_FOUND, b"wanted /metrics, /healthz or /readyz\n")
        except Exception:
            _log.exception("metrics can't be made", path=path)
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, b"see the log\n")

    def _metrics(self, snapshot: Snapshot) -> None:
        if not self._may_read():
            self._answer(HTTPStatus.UNAUTHORIZED, b"wanted: Authorization: Bearer TOKEN\n")
            return
        self._answer(HTTPStatus.OK, exposition(snapshot), CONTENT_TYPE_LATEST)

    def _health(self, health: Health) -> None:
        problems = health.problems if self._may_read() else [f"{len(health.problems)} problems"][: len(health.problems)]
        body = json.dumps({"ok": health.ok, "problems": problems}).encode() + b"\n"
        self._answer(HTTPStatus.OK if health.ok else HTTPStatus.SERVICE_UNAVAILABLE, body, "application/json")

    def _may_read(self) -> bool:
        if self.server.token is None:
            return True
        given = self.headers.get("Authorization", "")
        return hmac.compare_digest(given.encode(), f"Bearer {self.server.token}".encode())

    def _answer(self, status: HTTPStatus, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        return "f2p"

    def log_message(self, format: str, *args: Any) -> None:
        """A scrape every few seconds is no event."""

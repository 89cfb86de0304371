"""A small HTTP server for monitoring: /metrics, /healthz, /readyz. Runs in a thread; the work goes on without it."""

from __future__ import annotations

import hmac
import json
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

REQUEST_S = 5.0  # a client that says nothing for so long is hung up on
MOST_REQUESTS = 16  # answered at once; a scraper needs one
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
        self._free = threading.BoundedSemaphore(MOST_REQUESTS)
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        _log.debug("a client of the metrics hung up", client=str(client_address))


class _Handler(BaseHTTPRequestHandler):
    timeout = REQUEST_S
    server: _Server

    def do_GET(self) -> None:
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

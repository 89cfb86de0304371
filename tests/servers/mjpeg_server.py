"""MJPEG test camera: an HTTP server that sends the pictures it is given, one after another, on loopback."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

BOUNDARY = "picture"


class MjpegServer:
    """Sends `pictures` (JPEG bytes) at `fps`, then keeps the connection open in silence, or ends it.

    `authorization`: the header a client must send, else it gets 401.
    """

    def __init__(
        self, pictures: Sequence[bytes], fps: float = 50, *, then_silent: bool = True, authorization: str | None = None
    ) -> None:
        self.all_sent = threading.Event()
        self.released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self, pictures, fps, then_silent, authorization))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def address(self) -> str:
        """HOST:PORT"""
        return f"127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


def _handler(
    camera: MjpegServer, pictures: Sequence[bytes], fps: float, then_silent: bool, authorization: str | None
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if authorization is not None and self.headers.get("Authorization") != authorization:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="camera"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY}")
            self.end_headers()
            try:
                self.send_pictures()
            except (BrokenPipeError, ConnectionResetError):
                return  # the client has seen enough

        def send_pictures(self) -> None:
            for picture in pictures:
                head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                self.wfile.write(head.encode() + picture + b"\r\n")
                time.sleep(1 / fps)
            camera.all_sent.set()
            if then_silent:
                camera.released.wait(30)

        def log_message(self, format: str, *args: object) -> None:
            """A test has its own say."""

    return Handler

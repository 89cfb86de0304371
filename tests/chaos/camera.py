"""A network camera that can be made to fail: it hangs up, falls silent, or sends rubbish."""

from __future__ import annotations

import itertools
import random
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Literal, Self

from tests.chaos.numbered import NUMBERS, jpeg

Mood = Literal["well", "gone", "frozen", "garbage"]
BOUNDARY = "picture"


class FailingCamera:
    """MJPEG over HTTP on loopback; pictures are numbered, and the number goes on over connections."""

    def __init__(self, fps: float, seed: int) -> None:
        self.mood: Mood = "well"
        self._numbers = itertools.count()
        self._fps = fps
        self._random = random.Random(seed)
        self._pictures = [jpeg(number) for number in range(NUMBERS)]
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.mood = "gone"
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        """Send pictures until the mood or the client ends it."""
        if self.mood == "gone":
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        handler.send_response(200)
        handler.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY}")
        handler.end_headers()
        while self.mood != "gone":
            time.sleep(1 / self._fps)
            if self.mood == "frozen":
                continue
            if self.mood == "garbage":
                handler.wfile.write(self._random.randbytes(self._random.randrange(1, 4096)))
                continue
            data = self._pictures[next(self._numbers) % NUMBERS]
            head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            handler.wfile.write(head.encode() + data + b"\r\n")


def _handler(camera: FailingCamera) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                camera.serve(self)
            except OSError:
                self.close_connection = True  # the client has gone

        def log_message(self, format: str, *args: object) -> None:
            """The campaign has its own say."""

    return Handler

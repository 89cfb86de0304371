"""A server whose answer never ends."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self


class EndlessServer:
    """Answers every connection on a free port of loopback with `head`, then with `body` again and again."""

    def __init__(self, head: bytes, body: bytes) -> None:
        self.sent_bytes = 0
        self._head, self._body = head, body
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.2)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._thread.join(10)
        self._listener.close()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            with client, contextlib.suppress(OSError):
                client.settimeout(1)
                client.recv(4096)
                client.sendall(self._head)
                while not self._closing.is_set():
                    client.sendall(self._body)
                    self.sent_bytes += len(self._body)

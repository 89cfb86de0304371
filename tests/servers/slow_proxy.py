"""A TCP connection that takes its time: every answer of the server behind it comes late."""

from __future__ import annotations

import contextlib
import socket
import threading
import time


class SlowProxy:
    """Listens on loopback and passes on to `port`; answers wait `delay_s`."""

    def __init__(self, port: int, delay_s: float) -> None:
        self._behind = port
        self._delay_s = delay_s
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._behind)) as server:
            answers = threading.Thread(target=_pass_on, args=(server, client, self._delay_s), daemon=True)
            answers.start()
            _pass_on(client, server, 0.0)
            answers.join(10)


def _pass_on(source: socket.socket, target: socket.socket, delay_s: float) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            time.sleep(delay_s)
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)

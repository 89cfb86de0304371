"""Signs of life from a worker to whoever keeps it, in the words of systemd's notify protocol.

systemd (`Type=notify`, `WatchdogSec=`) and our own supervisor are told the same thing the same way: datagrams of
`KEY=value` lines on the Unix socket that the environment names. `X_F2P` carries a heartbeat for our supervisor;
systemd passes over keys it does not know. Protocol: sd_notify(3).
"""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import msgspec

from pipeline.wire.messages import Heartbeat

ENVIRONMENT_KEY = "NOTIFY_SOCKET"
HEARTBEAT_KEY = "X_F2P"
MAX_DATAGRAM_BYTES = 200_000


def notify(heartbeat: Heartbeat) -> None:
    """Tell the keeper of a worker, if there is one."""
    status = heartbeat.state + (f": {heartbeat.detail}" if heartbeat.detail else "")
    tell_keeper(status, f"{HEARTBEAT_KEY}={msgspec.json.encode(heartbeat).decode()}")


def tell_keeper(status: str, *more: str) -> None:
    """Ready, alive, and in what state. Never blocks and never fails: a keeper that is gone must not stop the line."""
    address = os.environ.get(ENVIRONMENT_KEY)
    if not address:
        return
    lines = ["READY=1", "WATCHDOG=1", f"STATUS={status}", *more]
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender,
        contextlib.suppress(OSError),
    ):
        sender.sendto("\n".join(lines).encode(), "\0" + address[1:] if address.startswith("@") else address)


class NotifyListener:
    """The keeper's side."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(path))

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> list[Heartbeat]:
        """Heartbeats that have arrived; datagrams that hold none are passed over."""
        heartbeats: list[Heartbeat] = []
        with contextlib.suppress(BlockingIOError):
            while True:
                fields = dict(
                    line.partition("=")[::2] for line in self._socket.recv(MAX_DATAGRAM_BYTES).decode().splitlines()
                )
                with contextlib.suppress(msgspec.DecodeError):
                    heartbeats.append(msgspec.json.decode(fields.get(HEARTBEAT_KEY, ""), type=Heartbeat))
        return heartbeats

    def close(self) -> None:
        self._socket.close()
        self.path.unlink(missing_ok=True)

"""Signs of life from a worker to whoever keeps it, in the words of systemd's notify protocol.

systemd (`Type=notify`, `WatchdogSec=`) and our own supervisor are given the same thing the same way: datagrams of
`KEY=value` lines on the Unix socket that the environment names. `X_F2P` carries a heartbeat for our supervisor;
systemd ignores keys it does not know. Protocol: sd_notify(3).

Our supervisor's socket has a name and no file (an abstract one), so that nobody can remove it; the kernel says who
sends, and only processes of the same user are heard.
"""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import socket
import struct

import msgspec

from pipeline.wire.messages import Heartbeat

ENVIRONMENT_KEY = "NOTIFY_SOCKET"
HEARTBEAT_KEY = "X_F2P"
MAX_DATAGRAM_BYTES = 200_000
_CREDENTIALS = struct.Struct("iII")  # pid, uid, gid: struct ucred of unix(7)


def notify(heartbeat: Heartbeat) -> None:
    """Notify the supervisor of a worker, if there is one."""
    status = heartbeat.state + (f": {heartbeat.detail}" if heartbeat.detail else "")
    notify_parent(status, f"{HEARTBEAT_KEY}={msgspec.json.encode(heartbeat).decode()}")


def notify_parent(status: str, *more: str) -> None:
    """Ready, alive, and in what state. Never blocks and never fails, also where the supervisor is gone."""
    address = os.environ.get(ENVIRONMENT_KEY)
    if not address:
        return
    lines = ["READY=1", "WATCHDOG=1", f"STATUS={status}", *more]
    with contextlib.suppress(OSError):
        _sender(os.getpid()).sendto(
            "\n".join(lines).encode(errors="replace"), "\0" + address[1:] if address.startswith("@") else address
        )


@functools.lru_cache(maxsize=1)
def _sender(pid: int) -> socket.socket:
    """One socket for the life of the process: a sign of life must not fail for want of a descriptor."""
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)


class NotifyListener:
    """The supervisor's side. `address` is what workers find in their environment."""

    def __init__(self) -> None:
        self.address = f"@f2p-notify-{os.getpid()}-{secrets.token_hex(8)}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind("\0" + self.address[1:])

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> list[Heartbeat]:
        """Heartbeats that have arrived; datagrams that hold none, or come from other users, are ignored."""
        heartbeats: list[Heartbeat] = []
        with contextlib.suppress(BlockingIOError):
            while True:
                data, ancillary, _, _ = self._socket.recvmsg(MAX_DATAGRAM_BYTES, socket.CMSG_SPACE(_CREDENTIALS.size))
                if not _sent_by_us(ancillary):
                    continue
                fields = dict(line.partition("=")[::2] for line in data.decode(errors="replace").splitlines())
                with contextlib.suppress(msgspec.DecodeError):
                    heartbeats.append(msgspec.json.decode(fields.get(HEARTBEAT_KEY, ""), type=Heartbeat))
        return heartbeats

    def close(self) -> None:
        self._socket.close()


def _sent_by_us(ancillary: list[tuple[int, int, bytes]]) -> bool:
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS) and len(data) >= _CREDENTIALS.size:
            return bool(_CREDENTIALS.unpack_from(data)[1] == os.getuid())
    return False

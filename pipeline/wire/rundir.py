"""Where the workers of a line on this host meet: sockets, lock and logs in a private folder, and the run's id.

The folder holds nothing that must survive a reboot. Its name comes from the line's file, so that two lines of the same
name do not meet, and every worker of a line finds it without being told.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from f2pnet.config.line import IpcTransport, LineConfig, TcpTransport
from f2pnet.errors import ConfigError
from pipeline.wire.curve import Curve


def new_run_id() -> str:
    """A UUID of version 7 (RFC 9562, section 5.7): sorts by the time of its making, in ms."""
    milliseconds, noise = time.time_ns() // 1_000_000, secrets.randbits(76)
    low = (noise >> 64) << 64 | 0b10 << 62 | noise & (1 << 62) - 1
    return str(uuid.UUID(int=milliseconds << 80 | 7 << 76 | low))


def started_at_s(run_id: str) -> float:
    """When the run began, in seconds since the epoch: the first 48 bits of its id."""
    return (uuid.UUID(run_id).int >> 80) / 1000


class RunDir:
    """Folder and addresses of one line on this host."""

    def __init__(self, line: LineConfig, line_file: Path) -> None:
        base = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/f2p-{os.getuid()}")  # noqa: S108 - made private below
        digest = hashlib.sha256(os.fsencode(line_file.resolve())).hexdigest()[:8]
        self.line = line
        self.path = base / "f2p" / f"{line.line[:32]}-{digest}"
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ConfigError(
                f"{self.path} can't be made: {error.strerror}; set XDG_RUNTIME_DIR to a folder of your own"
            ) from error
        owner = self.path.stat().st_uid
        if owner != os.getuid():
            raise ConfigError(f"{self.path} belongs to user {owner}: set XDG_RUNTIME_DIR to a folder of your own")

    def ring_name(self, camera_id: str) -> str:
        """Name of the camera's frame ring in shared memory."""
        return f"{self.path.name}.{camera_id}.ring"

    def camera_address(self, camera_id: str) -> str:
        return self._address(camera_id)

    @cached_property
    def curve(self) -> Curve | None:
        """The keys of this host, None where the line needs none. Raises MissingResource or ConfigError."""
        transport = self.line.transport
        return Curve.load(transport.curve) if isinstance(transport, TcpTransport) and transport.curve else None

    @property
    def publish_address(self) -> str:
        return self._address("publish")

    @property
    def alert_addresses(self) -> list[str]:
        """Where live alerts leave."""
        transport = self.line.transport
        addresses = [f"ipc://{self.path}/alerts.ipc"]
        if isinstance(transport, IpcTransport):
            return (
                addresses if transport.alerts_port is None else [*addresses, f"tcp://127.0.0.1:{transport.alerts_port}"]
            )
        return [*addresses, self._address("alerts")]

    @property
    def shares_memory(self) -> bool:
        """Whether pixels stay in shared memory instead of travelling in messages."""
        return isinstance(self.line.transport, IpcTransport)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the line on this host. Raises ConfigError when it runs already."""
        with (self.path / "lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.seek(0)
                raise ConfigError(
                    f"line '{self.line.line}' runs already (pid {file.read().strip() or 'unknown'}): stop it first"
                ) from error
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def running_pid(self) -> int | None:
        """Process that holds the line on this host; None when nobody does."""
        try:
            with (self.path / "lock").open("r") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return None
        except FileNotFoundError:
            return None
        except BlockingIOError:
            return int((self.path / "lock").read_text())

    def _address(self, name: str) -> str:
        transport = self.line.transport
        if isinstance(transport, IpcTransport):
            return f"ipc://{self.path}/{name}.ipc"
        return f"tcp://{transport.host}:{transport.ports[name]}"

    def bound(self, address: str) -> str:
        """What to bind so that others reach `address`."""
        transport = self.line.transport
        if isinstance(transport, TcpTransport) and transport.bind and address.startswith("tcp://"):
            return f"tcp://{transport.bind}:{address.rpartition(':')[2]}"
        return address

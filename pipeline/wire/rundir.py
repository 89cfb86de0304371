"""Where the workers of a line on this host meet: sockets and lock in a private folder, ring names.

The folder holds nothing that must survive a reboot, or that may not be removed while the line runs. Its name comes from
the line's file, so that two lines of the same name do not meet, and every worker of a line finds it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from f2pnet.config.line import IpcTransport, LineConfig, TcpTransport
from pipeline.frames.shared_memory import SHARED_MEMORY
from pipeline.wire.curve import Curve
from pipeline.wire.line_lock import LineLock
from pipeline.wire.private_folder import make_private, runtime_base

LONGEST_SOCKET_PATH = 100  # of 107 bytes that unix(7) allows
_LEFT = re.compile(r"^(?P<camera>.+)\.(?P<run>[A-Za-z0-9-]+)\.left$")


@dataclass(frozen=True)
class RingName:
    """A ring in shared memory. `left_by`: the ended run whose frames it still holds; None: it is the present one."""

    camera_id: str
    file_name: str
    left_by: str | None = None


class RunDir:
    """Folder and addresses of one line on this host."""

    def __init__(self, line: LineConfig, line_file: Path) -> None:
        digest = hashlib.sha256(os.fsencode(line_file.resolve())).hexdigest()[:8]
        self.line = line
        self.path = runtime_base() / f"{line.line[:32]}-{digest}"
        self._lock = LineLock(line.line, self.path)
        self.make()

    def make(self) -> None:
        """See that the folder is there and ours alone. Raises ConfigError or OutOfResources."""
        make_private(self.path)

    def ring_name(self, camera_id: str) -> str:
        """Name of the camera's frame ring in shared memory."""
        return f"{self.path.name}.{camera_id}.ring"

    def left_ring(self, camera_id: str, run_id: str) -> RingName:
        """Where the camera's ring of an ended run is kept until all of its frames are reported."""
        return RingName(camera_id, f"{self.path.name}.{camera_id}.{run_id}.left", left_by=run_id)

    def rings(self) -> list[RingName]:
        """All rings of this line that lie in shared memory, also of cameras that it has no more."""
        prefix, found = f"{self.path.name}.", []
        for file_name in sorted(path.name for path in SHARED_MEMORY.glob(f"{prefix}*")):
            rest = file_name.removeprefix(prefix)
            if rest.endswith(".ring"):
                found.append(RingName(rest.removesuffix(".ring"), file_name))
            elif left := _LEFT.match(rest):
                found.append(RingName(left["camera"], file_name, left_by=left["run"]))
        return found

    def camera_address(self, camera_id: str) -> str:
        return self._address(camera_id, file_name=f"camera-{camera_id}")

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
    def lock(self) -> Iterator[LineLock]:
        """Hold the line on this host. Raises ConfigError when it runs already."""
        self._lock.take()
        try:
            yield self._lock
        finally:
            self._lock.release()

    def running_pid(self) -> int | None:
        """Process that holds the line on this host; None when nobody does."""
        return self._lock.running_pid()

    def _address(self, name: str, file_name: str | None = None) -> str:
        transport = self.line.transport
        if isinstance(transport, IpcTransport):
            path = f"{self.path}/{file_name or name}.ipc"
            if len(path.encode()) > LONGEST_SOCKET_PATH:
                path = f"{self.path}/{hashlib.sha256(name.encode()).hexdigest()[:12]}.ipc"
            return f"ipc://{path}"
        return f"tcp://{transport.host}:{transport.ports[name]}"

    def bound(self, address: str) -> str:
        """What to bind so that others reach `address`."""
        transport = self.line.transport
        if isinstance(transport, TcpTransport) and transport.bind and address.startswith("tcp://"):
            return f"tcp://{transport.bind}:{address.rpartition(':')[2]}"
        return address

"""Who runs a line: a process on a host, so that a second start can say who is there, and whether it is gone."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psutil

from f2pnet.text import printable

RESTARTS_KEY = "F2P_RESTARTS"  # environment: how often our supervisor has replaced this worker
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_START_TIME_FIELD = 19  # of /proc/<pid>/stat behind the command's name: "starttime" (proc(5))


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """One process, distinguished from every other one on any host and from a later one with the same pid."""

    host: str
    boot_id: str  # of the kernel
    pid_namespace: str  # pids mean nothing in another one
    pid: int
    start_ticks: int
    since: str  # ISO 8601, when it began

    @classmethod
    def of_parent(cls) -> Holder:
        """The process that keeps the line: of a worker under our supervisor that one, else this process itself."""
        pid = os.getppid() if RESTARTS_KEY in os.environ else os.getpid()
        ticks = _start_ticks(pid) or 0
        began_s = psutil.boot_time() + ticks / os.sysconf("SC_CLK_TCK")
        return cls(
            host=socket.gethostname(),
            boot_id=_boot_id(),
            pid_namespace=_pid_namespace(),
            pid=pid,
            start_ticks=ticks,
            since=datetime.fromtimestamp(began_s, UTC).isoformat(timespec="seconds"),
        )

    @classmethod
    def from_json(cls, data: bytes) -> Holder | None:
        """None for bytes that are none of ours."""
        try:
            return msgspec.json.decode(data, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None

    def to_json(self) -> bytes:
        return msgspec.json.encode(self)

    def is_same_process(self, other: Holder) -> bool:
        return self._identity == other._identity

    @property
    def is_gone(self) -> bool | None:
        """Whether the process has ended; None where that can't be seen from here (another host or container)."""
        if not self.boot_id or self.boot_id != _boot_id() or self.pid_namespace != _pid_namespace():
            return None
        return _start_ticks(self.pid) != self.start_ticks

    @property
    def _identity(self) -> tuple[str, str, int, int]:
        return self.boot_id, self.pid_namespace, self.pid, self.start_ticks

    def __str__(self) -> str:
        return printable(f"host {self.host}, pid {self.pid}, since {self.since}")


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _pid_namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None where there is no such process, or only its remains."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else int(fields[_START_TIME_FIELD])

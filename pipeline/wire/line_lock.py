"""Who runs a line on this host: one process at a time, also when its files are removed while it runs.

The lock is a listening socket with a name and no file (an abstract Unix socket): the kernel gives a name to one process
only, takes it back when the process ends, and says who holds it. A file beside it names the process for people, and is
locked too for hosts where the two processes have different networks (containers).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import struct
from io import TextIOWrapper
from pathlib import Path
from typing import NamedTuple

from f2pnet.errors import ConfigError
from pipeline.wire.private_folder import make_private

NAMES_TRIED = 8  # somebody else's process may hold some of them, and must not keep a line from starting
BACKLOG = 16
ASK_LIMIT_S = 0.5
_CREDENTIALS = struct.Struct("iII")  # pid, uid, gid: struct ucred of unix(7)


class _Holder(NamedTuple):
    pid: int
    uid: int


class LineLock:
    """Of the line that `title` names, in its run folder. Hold it with `take` until `release`."""

    def __init__(self, title: str, folder: Path) -> None:
        self._title = title
        self._folder = folder
        self._name = f"f2p-line-{os.getuid()}-{folder.name}"
        self._socket: socket.socket | None = None
        self._file: TextIOWrapper | None = None

    def take(self) -> None:
        """Raises ConfigError when the line runs already."""
        self._socket = self._bound()
        try:
            self._write_file()
        except BaseException:
            self.release()
            raise

    def keep(self) -> None:
        """To be called now and then: answers who asked, and makes the file anew where it was removed."""
        if self._socket is None:
            return
        with contextlib.suppress(OSError):  # nobody asks any more
            while True:
                self._socket.accept()[0].close()
        if not self._file_has_its_name():
            with contextlib.suppress(OSError, ConfigError):  # the socket holds the lock; the file is for people
                self._write_file()

    def release(self) -> None:
        for held in (self._socket, self._file):
            if held is not None:
                held.close()
        self._socket = self._file = None

    def running_pid(self) -> int | None:
        """The process that holds the line; None when none does."""
        for name in self._names():
            holder = _holder(name)
            if holder is None:
                return None
            if holder.uid == os.getuid():
                return holder.pid
        return None

    def _bound(self) -> socket.socket:
        for name in self._names():
            own = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            try:
                own.bind(name)
                own.listen(BACKLOG)
                return own
            except OSError as error:
                own.close()
                if error.errno != errno.EADDRINUSE:
                    raise ConfigError(f"line '{self._title}' can't be locked: {error.strerror}") from error
                holder = _holder(name)
                if holder is None or holder.uid == os.getuid():
                    raise self._runs_already(holder.pid if holder else None) from error
        raise ConfigError(f"line '{self._title}': other users hold all {NAMES_TRIED} names of its lock")

    def _write_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        make_private(self._folder)
        file = self._path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            pid_text = file.read().strip()
            file.close()
            raise self._runs_already(int(pid_text) if pid_text.isdigit() else None) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._file = file

    def _file_has_its_name(self) -> bool:
        try:
            return self._file is not None and os.path.samestat(self._path.stat(), os.fstat(self._file.fileno()))
        except OSError:
            return False

    def _runs_already(self, pid: int | None) -> ConfigError:
        return ConfigError(f"line '{self._title}' runs already (pid {pid or 'unknown'}): stop it first")

    @property
    def _path(self) -> Path:
        return self._folder / "lock"

    def _names(self) -> list[str]:
        return [f"\0{self._name}.{number}" for number in range(NAMES_TRIED)]


def _holder(name: str) -> _Holder | None:
    """Who listens under an abstract name; None when nobody does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(ASK_LIMIT_S)
        try:
            asking.connect(name)
        except OSError:
            return None
        pid, uid, _ = _CREDENTIALS.unpack(asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return _Holder(pid, uid)

"""What a hot folder remembers: which files have their verdict, by name and state, not by a number that shifts.

A file of lines, one JSON list (name, size, time of change) for each picture. A line is added when a verdict is durable.
The file is written anew when it is opened, and without the pictures that are gone when these are many.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from f2pnet.errors import ConfigError
from f2pnet.text import printable

GROWN_LINES = 10_000
"""Lines for files that are gone, beyond which the journal is written anew."""


class Stamp(NamedTuple):
    """How a file is known again: another picture of the same name has another size or time of change.

    `arrived_ns` is when its name or content last changed in this folder, which orders arrivals and means nothing else.
    """

    size: int
    changed_ns: int
    arrived_ns: int

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stamp) and self[:2] == other[:2]

    def __hash__(self) -> int:
        return hash(self[:2])


def stamp_of(path: Path) -> Stamp | None:
    """The file's stamp; None when it is gone. A broken link has the stamp of the link."""
    for follow in (True, False):
        try:
            status = path.stat(follow_symlinks=follow)
        except OSError:
            continue
        return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return None


def move_into(folder: Path, path: Path) -> None:
    """Move a file into `folder`, under another name where its own is taken. Raises OSError."""
    target, number = folder / path.name, 1
    while target.exists():
        number += 1
        target = folder / f"{path.stem}-{number}{path.suffix}"
    shutil.move(path, target)


class Journal:
    """Opens or begins the journal at `path`. Raises ConfigError when it, or `done_dir`, can't be written."""

    def __init__(self, path: Path, done_dir: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            if done_dir is not None:
                _try_to_write(done_dir)
            self._done = _read(path)
            self._rewrite()
        except OSError as error:
            cure = "make the folder writable, or name another place with the source's journal and done_dir"
            raise ConfigError(
                f"{printable(error.filename or path)} can't be written ({error.strerror}): {cure}"
            ) from error

    def holds(self, name: str, stamp: Stamp) -> bool:
        """Whether this state of the file has its verdict."""
        with self._lock:
            return self._done.get(name) == stamp

    def add(self, name: str, stamp: Stamp) -> None:
        """Note that the file has its verdict. Raises OSError."""
        with self._lock:
            self._done[name] = stamp
            self._file.write(_line(name, stamp))
            self._file.flush()
            self._lines += 1

    def forget_all_but(self, present: Collection[str]) -> None:
        """Let go of files that are not there any more, once they are many."""
        with self._lock:
            if self._lines - len(self._done.keys() & set(present)) > GROWN_LINES:
                self._done = {name: stamp for name, stamp in self._done.items() if name in present}
                self._file.close()
                self._rewrite()

    def close(self) -> None:
        """Close the file; a second call changes nothing."""
        self._file.close()

    def _rewrite(self) -> None:
        fresh = self._path.with_name(f"{self._path.name}.new")
        with fresh.open("w", encoding="ascii") as file:
            file.writelines(_line(name, stamp) for name, stamp in self._done.items())
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        self._file = self._path.open("a", encoding="ascii")
        self._lines = len(self._done)


def _line(name: str, stamp: Stamp) -> str:
    return json.dumps([name, stamp.size, stamp.changed_ns]) + "\n"


def _read(path: Path) -> dict[str, Stamp]:
    """The journal's entries; a last line that was cut off by a crash counts for nothing."""
    done: dict[str, Stamp] = {}
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except FileNotFoundError:
        return done
    for line in lines:
        try:
            name, size, changed_ns = json.loads(line)
            done[str(name)] = Stamp(int(size), int(changed_ns), 0)
        except (ValueError, TypeError):
            continue
    return done


def _try_to_write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / ".f2p-write-test"
    probe.touch()
    probe.unlink()

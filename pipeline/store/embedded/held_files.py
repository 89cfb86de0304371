"""The append-only files of a running server, held open: what somebody deletes meanwhile can be written again.

A server goes on for hours with a file that has no name any more, and says of every write that it is on disk. So the
names are looked at now and then, and each file is kept open here: its content stays until nobody has it open.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

SINGLE = Path("appendonly.aof")  # Redis 6
FOLDER = Path("appendonlydir")  # Redis 7 and later, Valkey
MANIFEST = FOLDER / "appendonly.aof.manifest"
LOOK_TWICE_S = 0.1  # a server that rewrites its files replaces them one after another

Inode = tuple[int, int]


@dataclass(frozen=True)
class _Held:
    descriptor: int
    inode: Inode


class HeldFiles:
    """Files of the server that works on `data_dir`, from its start on."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._held: dict[Path, _Held] = {}
        self._sizes: dict[Inode, int] = {}  # of the files that are held, as they were last seen
        self.was_cut = False
        """A file has become shorter: the server only adds to its files."""
        self._folder: Inode | None = None

    def look(self, pid: int) -> bool:
        """Hold what is there now; False when the server `pid` writes to files that are gone.

        True, too, where one can't look just now, since descriptors or memory are short.
        """
        try:
            if self._look(pid):
                return True
            time.sleep(LOOK_TWICE_S)
            return self._look(pid)
        except OSError:
            return True

    def restore(self) -> bool:
        """Write what is held to `data_dir`, durably; False where some of it is not held. Raises OSError."""
        held = {name: one for name, one in self._held.items() if name != MANIFEST}
        if not held:
            return False
        if MANIFEST in self._held:
            listed = _listed(os.pread(self._held[MANIFEST].descriptor, 1_000_000, 0).decode(errors="replace"))
            if not set(listed) <= set(held):
                return False
        for name, one in self._held.items():
            path = self._data_dir / name
            if _inode(path) == one.inode:
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_name(f"{path.name}.unfinished")
            with unfinished.open("wb") as file, os.fdopen(os.dup(one.descriptor), "rb") as source:
                source.seek(0)
                shutil.copyfileobj(source, file, 2**20)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        return True

    def put_aside(self) -> None:
        """Rename what is left there, which no server can begin with. Raises OSError."""
        for name in (SINGLE, FOLDER):
            path = self._data_dir / name
            if path.exists():
                path.rename(path.with_name(f"{path.name}.incomplete-{time.time_ns()}"))

    def close(self) -> None:
        """Let go of all of them."""
        for one in self._held.values():
            os.close(one.descriptor)
        self._held.clear()
        self._sizes.clear()
        self._folder = None

    def _look(self, pid: int) -> bool:
        folder = _inode(self._data_dir)
        self._folder = self._folder or folder
        if folder is None or folder != self._folder:
            return False
        names = self._named()
        inodes = {name: _inode(self._data_dir / name) for name in names}
        if not names or None in inodes.values():
            return False
        if not _has_open(pid, inodes[names[-1]]):
            return False
        for name in names:
            self._hold(name)
        for name in set(self._held) - set(names):
            os.close(self._held.pop(name).descriptor)
        self._compare_sizes()
        return True

    def _compare_sizes(self) -> None:
        held = [one for name, one in self._held.items() if name != MANIFEST]
        sizes = {one.inode: os.fstat(one.descriptor).st_size for one in held}
        self.was_cut |= any(size < self._sizes.get(inode, 0) for inode, size in sizes.items())
        self._sizes = sizes

    def _named(self) -> list[Path]:
        """The files as the server names them, the one that it writes to last; empty where there are none.

        Raises OSError where that can't be seen now.
        """
        try:
            manifest = (self._data_dir / MANIFEST).read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return [SINGLE] if (self._data_dir / SINGLE).exists() else []
        return [MANIFEST, *_listed(manifest)]

    def _hold(self, name: Path) -> None:
        known = self._held.get(name)
        if known is not None and known.inode == _inode(self._data_dir / name):
            return
        with contextlib.suppress(FileNotFoundError):  # replaced just now: the next look has it
            descriptor = os.open(self._data_dir / name, os.O_RDONLY | os.O_CLOEXEC)
            facts = os.fstat(descriptor)
            self._held[name] = _Held(descriptor, (facts.st_dev, facts.st_ino))
            if known is not None:
                os.close(known.descriptor)


def _listed(manifest: str) -> list[Path]:
    """The files that a manifest names: its lines are `file NAME seq NUMBER type b|i|h`; h is history."""
    found = []
    for line in manifest.splitlines():
        words = line.split()
        if len(words) >= 6 and words[0] == "file" and words[5] in ("b", "i"):
            found.append(FOLDER / words[1])
    return found


def _inode(path: Path) -> Inode | None:
    """None where there is no such file. Raises OSError where that can't be seen now."""
    try:
        facts = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return facts.st_dev, facts.st_ino


def _has_open(pid: int, inode: Inode | None) -> bool:
    """Whether a process has the file open; taken for granted where one may not look."""
    try:
        links = list(Path(f"/proc/{pid}/fd").iterdir())
        return any(_inode(link) == inode for link in links)
    except OSError:
        return True

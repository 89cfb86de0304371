"""A folder for a line that no person wrote and that leaves nothing behind, not even when it is killed.

It holds the line's file, spool and embedded Redis for as long as the line runs, under a lock that a killed process lets
go of. Whoever makes the next one finds folders without a holder, and frees what belonged to them: their frames in
shared memory, their sockets, and the folder itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from f2pnet.config import load_line
from f2pnet.errors import F2pError
from pipeline.frames.shared_memory import SHARED_MEMORY
from pipeline.wire.rundir import RunDir

PREFIX = "f2p-line-"
LINE_FILE = "line.yaml"
LOCK_FILE = "lock"
UNLOCKED_S = 60.0  # a folder without a lock is just being made, or is what a removal left
_log = structlog.get_logger(__name__)


@contextmanager
def temporary_line() -> Iterator[Path]:
    """A private folder for one line; what the line left in it, in shared memory and in its run folder goes at the end.

    Put the line's file there as `line.yaml`. First removes what killed lines left.
    """
    remove_leftovers()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    lock = _lock(folder / LOCK_FILE, create=True)
    try:
        yield folder
    finally:
        _remove(folder)
        if lock is not None:
            os.close(lock)


def remove_leftovers() -> None:
    """Free what temporary lines of this user left that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # another process removes it, or it belongs to somebody else
            facts = folder.stat()
            if facts.st_uid != os.getuid() or not folder.is_dir():
                continue
            if not (folder / LOCK_FILE).exists():
                if time.time() - facts.st_mtime > UNLOCKED_S:
                    _remove(folder)
                continue
            lock = _lock(folder / LOCK_FILE, create=False)
            if lock is not None:
                _remove(folder)
                os.close(lock)
                _log.info("removed what a killed line had left", folder=str(folder))


def _lock(path: Path, *, create: bool) -> int | None:
    """A descriptor that holds the lock until it is closed; None when somebody else holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _remove(folder: Path) -> None:
    line_file = folder / LINE_FILE
    with contextlib.suppress(F2pError):  # it was killed before its file was whole: then it had no workers either
        run_dir = RunDir(load_line(line_file), line_file)
        for ring in SHARED_MEMORY.glob(f"{run_dir.path.name}.*"):
            with contextlib.suppress(OSError):
                ring.unlink()
        shutil.rmtree(run_dir.path, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)

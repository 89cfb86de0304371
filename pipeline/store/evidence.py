"""Pictures behind verdicts, in a folder that never grows beyond its bound: the oldest go first, and are counted.

    <folder>/2026-11-23/cam1/130502.123_<run>_000042_NG.jpg      day and time of capture, UTC

Evidence helps people and decides nothing: a disk that refuses it is logged and counted, and the line goes on.
"""

from __future__ import annotations

import contextlib
from collections import deque
from datetime import UTC, datetime
from pathlib import Path

import structlog

from f2pnet.result import InspectionResult

_log = structlog.get_logger(__name__)

_UNFINISHED = ".part"


class EvidenceStore:
    """Writes into `folder`, and is the only one that does. `max_mb` is in MiB."""

    def __init__(self, folder: Path, max_mb: int) -> None:
        self.folder = folder
        self.deleted = 0  # old pictures that made room
        self.failed = 0  # pictures that could not be saved
        self._max_bytes = max_mb * 2**20
        self._kept = deque(_find(folder))  # (path, bytes), oldest first
        self._bytes_used = sum(size for _, size in self._kept)

    @property
    def bytes_used(self) -> int:
        """Bytes of all pictures kept, at most the bound once a picture was saved."""
        return self._bytes_used

    def save(self, result: InspectionResult, picture: bytes) -> str | None:
        """Save the JPEG behind `result`; its path from the folder's parent on, or None when it could not be saved.

        A picture appears whole or not at all. The same result saved again changes nothing.
        """
        path = self.folder / _place(result)
        try:
            if not path.exists():
                self._make_room(len(picture))
                self._write(path, picture)
        except OSError as error:
            self.failed += 1
            _log.error("evidence not saved", file=str(path), error=str(error), failed=self.failed)
            return None
        return str(path.relative_to(self.folder.parent))

    def _write(self, path: Path, picture: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(_UNFINISHED)
        unfinished.write_bytes(picture)
        unfinished.replace(path)
        self._kept.append((path, len(picture)))
        self._bytes_used += len(picture)

    def _make_room(self, wanted: int) -> None:
        if wanted > self._max_bytes:
            raise OSError(f"a picture of {wanted} bytes is larger than evidence.max_mb allows for all")
        while self._bytes_used + wanted > self._max_bytes:
            path, size = self._kept.popleft()
            self._bytes_used -= size
            self.deleted += 1
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # not empty yet
                path.parent.rmdir()
                path.parent.parent.rmdir()


def _place(result: InspectionResult) -> Path:
    """Where the picture of a result belongs, within the folder."""
    captured = datetime.fromtimestamp((result.captured_at_ns or 0) / 1e9, UTC)
    camera, run, seq = (result.frame_id or "//").split("/")
    moment = f"{captured:%H%M%S}.{captured.microsecond // 1000:03d}"
    return Path(f"{captured:%Y-%m-%d}", camera, f"{moment}_{run}_{seq}_{result.verdict}.jpg")


def _find(folder: Path) -> list[tuple[Path, int]]:
    """Pictures of earlier runs, oldest first; what an interrupted save left is removed."""
    for path in folder.glob(f"*/*/*{_UNFINISHED}"):
        path.unlink(missing_ok=True)
    found = [(path, path.stat()) for path in folder.glob("*/*/*.jpg")]
    found.sort(key=lambda item: item[1].st_mtime_ns)
    return [(path, facts.st_size) for path, facts in found]

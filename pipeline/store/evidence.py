"""Pictures behind verdicts, in a folder that never grows beyond its bounds: the oldest go first, and are counted.

    <folder>/2026-11-23/cam1/130502.123_<run>_000042_NG.jpg      day and time of capture, UTC; .png beyond 65,500 px

Evidence helps people and decides nothing: a disk that refuses it is logged and counted, and the line goes on.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import structlog

from f2pnet.errors import F2pError
from f2pnet.frame_id import SEQ_DIGITS, FrameId
from f2pnet.inspection.result import InspectionResult

_log = structlog.get_logger(__name__)

_UNFINISHED = ".part"
_PNG = b"\x89PNG"
_SUFFIXES = (".jpg", ".png")


class _Kept(NamedTuple):
    path: Path
    size_bytes: int
    saved_at_s: float


class EvidenceStore:
    """Writes into `folder`, and is the only one that does. `max_mb` is in MiB; a bound of None is none.

    `clock` gives seconds since the epoch, as files are dated.
    """

    def __init__(
        self,
        folder: Path,
        max_mb: int,
        max_count: int | None = None,
        max_age_days: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder = folder
        self.deleted = 0  # old pictures that made room
        self.failed = 0  # pictures that could not be saved
        self._max_bytes = max_mb * 2**20
        self._max_count = max_count
        self._max_age_s = None if max_age_days is None else max_age_days * 86_400
        self._clock = clock
        self._kept = deque(_find(folder))  # oldest first
        self._bytes_used = sum(picture.size_bytes for picture in self._kept)

    @property
    def bytes_used(self) -> int:
        """Bytes of all pictures kept, at most the bound once a picture was saved."""
        return self._bytes_used

    def save(self, result: InspectionResult, picture: bytes) -> str | None:
        """Save the JPEG or PNG behind `result`; its path from the folder's parent on, None when it could not be saved.

        A picture appears whole or not at all. The same result saved again changes nothing.
        """
        path = self.folder / _place(result, ".png" if picture.startswith(_PNG) else ".jpg")
        try:
            if not path.exists():
                self._make_room(len(picture))
                self._write(path, picture)
        except OSError as error:
            self.failed += 1
            _log.error("evidence not saved", file=str(path), error=str(error), failed=self.failed)
            return None
        return str(path.relative_to(self.folder.parent))

    def expire(self) -> None:
        """Delete what is too old; to be called now and then, also when nothing new comes."""
        try:
            while self._max_count is not None and len(self._kept) > self._max_count:
                self._delete_oldest()
            while self._max_age_s and self._kept and self._clock() - self._kept[0].saved_at_s > self._max_age_s:
                self._delete_oldest()
        except OSError as error:
            self.failed += 1
            _log.error("old evidence not deleted", folder=str(self.folder), error=str(error))

    def _write(self, path: Path, picture: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(_UNFINISHED)
        unfinished.write_bytes(picture)
        unfinished.replace(path)
        self._kept.append(_Kept(path, len(picture), self._clock()))
        self._bytes_used += len(picture)

    def _make_room(self, wanted: int) -> None:
        if wanted > self._max_bytes:
            raise OSError(f"a picture of {wanted} bytes is larger than evidence.max_mb allows for all")
        while self._bytes_used + wanted > self._max_bytes or self._max_count == len(self._kept):
            self._delete_oldest()

    def _delete_oldest(self) -> None:
        picture = self._kept.popleft()
        self._bytes_used -= picture.size_bytes
        self.deleted += 1
        picture.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not empty yet
            picture.path.parent.rmdir()
            picture.path.parent.parent.rmdir()


def kept_picture(folder: Path, result: InspectionResult) -> Path | None:
    """The picture behind a result, where it still lies in `folder`.

    Results come from a store that others may write to: a picture is only ever looked for where `EvidenceStore` puts it,
    and a link that leads elsewhere is no picture.
    """
    try:
        places = {str(Path(folder.name) / place): place for place in (_place(result, suffix) for suffix in _SUFFIXES)}
    except (F2pError, OverflowError, ValueError):
        return None
    place = places.get(result.evidence or "")
    if place is None:
        return None
    try:
        root = folder.resolve(strict=True)
        path = (root / place).resolve(strict=True)
    except OSError:
        return None
    return path if path == root / place and path.is_file() else None


def _place(result: InspectionResult, suffix: str) -> Path:
    """Where the picture of a result belongs, within the folder."""
    captured = datetime.fromtimestamp((result.captured_at_ns or 0) / 1e9, UTC)
    frame = FrameId.parse(result.frame_id or "")
    moment = f"{captured:%H%M%S}.{captured.microsecond // 1000:03d}"
    name = f"{moment}_{frame.run_id}_{frame.seq:0{SEQ_DIGITS}d}_{result.verdict}{suffix}"
    return Path(f"{captured:%Y-%m-%d}", frame.camera_id, name)


def _find(folder: Path) -> list[_Kept]:
    """Pictures of earlier runs, oldest first; what an interrupted save left is removed."""
    for path in folder.glob(f"*/*/*{_UNFINISHED}"):
        path.unlink(missing_ok=True)
    found = [(path, path.stat()) for path in folder.glob("*/*/*") if path.suffix in _SUFFIXES]
    found.sort(key=lambda item: item[1].st_mtime_ns)
    return [_Kept(path, facts.st_size, facts.st_mtime) for path, facts in found]

"""A folder of images as a camera."""

from __future__ import annotations

import time
from pathlib import Path

import structlog

from f2pnet.config.sources import FolderSource
from f2pnet.errors import MissingResource
from f2pnet.pictures.decode import read_picture
from f2pnet.pictures.folder import describe, list_folder, natural_key
from f2pnet.pictures.header import PictureTooLarge, UnreadablePicture
from f2pnet.pictures.suffixes import IMAGE_SUFFIXES
from f2pnet.text import printable
from pipeline.frames.file_ref import FileRef
from pipeline.sources.base import BadFrame, Frame, Opening, Source, SourceEnded
from pipeline.sources.pacing import Pacer

_log = structlog.get_logger(__name__)


class FolderReader(Source):
    """Image files in natural order; the list is taken once, when the folder is opened."""

    def __init__(self, config: FolderSource, opening: Opening) -> None:
        self.live = config.live
        self._files = image_files(config.path.resolve())  # a link may lead elsewhere by and by
        self._bit_depth, self._max_bytes = config.bit_depth, opening.max_bytes
        self._loop = config.loop
        self._index = opening.start_index
        self._pacer = Pacer(config.fps)

    def read(self, timeout_s: float) -> Frame | BadFrame | None:
        if not self._loop and self._index >= len(self._files):
            raise SourceEnded(f"all {len(self._files)} images are through")
        if self._pacer.wait(timeout_s) is None:
            return None
        index, self._index = self._index, self._index + 1
        return read_frame(self._files[index % len(self._files)], index, self._max_bytes, self._bit_depth)

    def resume_after(self, last_name: str) -> str | None:
        """By natural order, where images were added or removed before the one that was captured last."""
        if not self._index or not last_name:
            return None
        rounds, at = divmod(self._index - 1, len(self._files))
        if self._files[at].name == last_name:
            return None
        last_key = natural_key(last_name)
        before = sum(natural_key(file.name) <= last_key for file in self._files)
        self._index = rounds * len(self._files) + before
        if before <= at + 1:
            return None
        count, last = before - at - 1, printable(last_name)
        return f"{count} images that sort before {last} were added; they are not inspected in this round"

    def close(self) -> None:
        """Nothing to let go of: a file is open only while it is read."""


def read_frame(path: Path, index: int, max_bytes: int, bit_depth: int | None) -> Frame | BadFrame:
    """The picture in a file, dated now."""
    file, captured_at_ns = FileRef(path.name), time.time_ns()
    try:
        image = read_picture(path, max_bytes=max_bytes, bit_depth=bit_depth)
    except PictureTooLarge as error:
        return BadFrame(index, "frame_too_large", str(error), captured_at_ns, file)
    except UnreadablePicture as error:
        return BadFrame(index, "unreadable", str(error), captured_at_ns, file)
    return Frame(image, captured_at_ns, index, file=file)


def image_files(folder: Path) -> list[Path]:
    """The image files in `folder`, `part2.png` before `part10.png`; what is passed over goes to the log.

    Raises MissingResource when there is none, or when the folder can't be read.
    """
    shown = printable(folder)
    if not folder.is_dir():
        raise MissingResource(f"no folder {shown}: check the source's path")
    try:
        listing = list_folder(folder, subfolders=False, videos=False)
    except OSError as error:
        raise MissingResource(f"folder {shown} can't be read: {error.strerror}") from error
    described = describe(listing.passed_over) if listing.passed_over else None
    if not listing.files:
        wanted = ", ".join(sorted(IMAGE_SUFFIXES))
        rest = f"; {described}" if described else ""
        raise MissingResource(f"no images in {shown}: wanted files that end in {wanted}{rest}")
    if described:
        _log.warning("not everything in the folder is read", folder=shown, what=described)
    return listing.files

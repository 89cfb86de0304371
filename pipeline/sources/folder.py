"""A folder of images as a camera."""

from __future__ import annotations

import re
import time
from pathlib import Path

from f2pnet.config.sources import FolderSource
from f2pnet.errors import MissingResource
from pipeline.sources.base import BadFrame, Frame, Source, SourceEnded
from pipeline.sources.images import IMAGE_SUFFIXES, UnreadableImage, decode_image
from pipeline.sources.pacing import Pacer


class FolderReader(Source):
    """Image files in natural order; the list is taken once, when the folder is opened."""

    def __init__(self, config: FolderSource, start_index: int) -> None:
        self.live = config.live
        self._files = image_files(config.path.resolve())  # a link may lead elsewhere by and by
        self._loop = config.loop
        self._index = start_index
        self._pacer = Pacer(config.fps)

    def read(self, timeout_s: float) -> Frame | BadFrame | None:
        if not self._loop and self._index >= len(self._files):
            raise SourceEnded(f"all {len(self._files)} images are through")
        if self._pacer.wait(timeout_s) is None:
            return None
        index, self._index = self._index, self._index + 1
        file, captured_at_ns = self._files[index % len(self._files)], time.time_ns()
        try:
            return Frame(decode_image(file.read_bytes()), captured_at_ns, index, name=file.name)
        except UnreadableImage as error:
            return BadFrame(index, "unreadable", str(error), captured_at_ns, name=file.name)
        except OSError as error:
            return BadFrame(index, "unreadable", error.strerror or str(error), captured_at_ns, name=file.name)

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
        return f"{before - at - 1} images that sort before {last_name} were added; they are not inspected in this round"

    def close(self) -> None:
        """Nothing to let go of: a file is open only while it is read."""


def image_files(folder: Path) -> list[Path]:
    """The image files in `folder`, `part2.png` before `part10.png`; raises MissingResource when there is none."""
    if not folder.is_dir():
        raise MissingResource(f"no folder {folder}: check the source's path")
    files = [path for path in folder.iterdir() if _is_image(path)]
    if not files:
        raise MissingResource(f"no images in {folder}: wanted files that end with {', '.join(sorted(IMAGE_SUFFIXES))}")
    return sorted(files, key=lambda path: natural_key(path.name))


def _is_image(path: Path) -> bool:
    """By its name; a broken link counts, since its picture was due."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and not path.is_dir()


def natural_key(name: str) -> list[tuple[int, str]]:
    """Sorts numbers within names by their value."""
    parts = re.findall(r"\d+|\D+", name.lower())
    return [(int(part), "") if part.isdigit() and part.isascii() else (-1, part) for part in parts] + [(-2, name)]

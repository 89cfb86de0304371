"""Images and videos on disk, as a stream of pictures of which some may turn out unreadable."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from f2pnet.config.sources import VIDEO_SUFFIXES
from f2pnet.errors import ConfigError, MissingResource
from f2pnet.preprocess import Image

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm"})

UNREADABLE = "unreadable"
UNSUPPORTED = "unsupported_format"
TRUNCATED = "truncated"


@dataclass(frozen=True)
class PictureFile:
    """An image or video that was asked for; `name` is its path below the input it was found in."""

    path: Path
    name: Path

    @property
    def is_video(self) -> bool:
        """Told by the suffix."""
        return self.path.suffix.lower() in VIDEO_SUFFIXES


@dataclass(frozen=True)
class Picture:
    """One picture, or (image None) the reason why there is none. `frame` counts a video's frames from 0."""

    file: PictureFile
    frame: int | None
    image: Image | None
    reason: str | None = None

    @property
    def id(self) -> str:
        """The file's path; for videos with the frame's number."""
        return str(self.file.path) if self.frame is None else f"{self.file.path}#{self.frame:06d}"

    @property
    def name(self) -> Path:
        """Where results about the picture belong, below an output folder and without a suffix."""
        stem = self.file.name.with_suffix("")
        return stem if self.frame is None else stem / f"{self.frame:06d}"


def picture_files(inputs: Sequence[Path], ignore: Path) -> list[PictureFile]:
    """The files that `inputs` name; folders are searched with their subfolders, in natural order, without `ignore`.

    Names are made different by a number where two files would share one. Raises MissingResource for an input that is
    not there, ConfigError when nothing was found.
    """
    found: list[PictureFile] = []
    for given in inputs:
        if not given.exists():
            raise MissingResource(f"no image, video or folder {given}: check the path")
        if given.is_file():
            found.append(PictureFile(given, Path(given.name)))
        else:
            found += [PictureFile(path, path.relative_to(given)) for path in _in_folder(given, ignore.resolve())]
    if not found:
        wanted = ", ".join(sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES))
        raise ConfigError(f"no images or videos in {', '.join(map(str, inputs))}: wanted files that end in {wanted}")
    return _with_different_names(found)


def pictures(files: Sequence[PictureFile]) -> Iterator[Picture]:
    """Read the files one by one. Never raises for a bad file: it becomes a picture without an image."""
    for file in files:
        if file.is_video:
            yield from _video_frames(file)
        else:
            image, reason = read_image(file.path)
            yield Picture(file, None, image, reason)


def read_image(path: Path) -> tuple[Image | None, str | None]:
    """An image file as BGR or grey, uint8, in its stored orientation; or None and the reason.

    Deeper than 8 bits is refused: how it maps to 8 bits is the camera's business, and a guess could hide a defect.
    """
    try:
        image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    except (OSError, cv2.error):
        image = None
    if image is None:
        return None, UNREADABLE
    if image.dtype != np.uint8:
        return None, UNSUPPORTED
    if image.ndim == 3 and image.shape[2] == 4:
        image = cv2.cvtColor(image, cv2.COLOR_BGRA2BGR)
    return np.asarray(image, np.uint8), None


def _in_folder(folder: Path, ignore: Path) -> list[Path]:
    known = IMAGE_SUFFIXES | VIDEO_SUFFIXES
    paths = [path for path in folder.rglob("*") if path.suffix.lower() in known and path.is_file()]
    return sorted((path for path in paths if not path.resolve().is_relative_to(ignore)), key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts part2 before part10."""
    return [(int(piece), "") if piece.isdigit() else (-1, piece) for piece in re.split(r"(\d+)", str(path))]


def _with_different_names(files: Sequence[PictureFile]) -> list[PictureFile]:
    taken: set[Path] = set()
    renamed = []
    for file in files:
        name, number = file.name, 1
        while name.with_suffix("") in taken:
            number += 1
            name = file.name.with_name(f"{file.name.stem}-{number}{file.name.suffix}")
        taken.add(name.with_suffix(""))
        renamed.append(PictureFile(file.path, name))
    return renamed


def _video_frames(file: PictureFile) -> Iterator[Picture]:
    capture = cv2.VideoCapture(str(file.path), cv2.CAP_FFMPEG)
    try:
        announced = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        read = 0
        while True:
            there, image = capture.read()
            if not there:
                break
            yield Picture(file, read, np.asarray(image, np.uint8))
            read += 1
    finally:
        capture.release()
    if read == 0:
        yield Picture(file, None, None, UNREADABLE)
    elif read < announced - 1:  # some containers state their length to the nearest frame only
        yield Picture(file, read, None, TRUNCATED)

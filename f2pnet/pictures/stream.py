"""Everything that a command was asked to read: images, videos and folders, one picture after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from f2pnet.errors import ConfigError, MissingExtra, MissingResource
from f2pnet.pictures.decode import MAX_DECODED_BYTES, read_picture
from f2pnet.pictures.folder import PassedOver, describe, list_folder
from f2pnet.pictures.header import PictureTooLarge, UnreadablePicture
from f2pnet.pictures.preprocess import Image
from f2pnet.pictures.suffixes import IMAGE_SUFFIXES, VIDEO_SUFFIXES, is_video
from f2pnet.text import printable

UNREADABLE = "unreadable"
TOO_LARGE = "frame_too_large"
TRUNCATED = "truncated"
NO_DEPTHS: Mapping[Path, int | None] = {}


@dataclass(frozen=True)
class PictureFile:
    """An image or video that was asked for; `name` is its path below the input it was found in.

    `bit_depth`: bits that 16-bit pixels fill, where the file does not say.
    """

    path: Path
    name: Path
    bit_depth: int | None = None

    @property
    def is_video(self) -> bool:
        """By its suffix."""
        return is_video(self.path)


@dataclass(frozen=True)
class Picture:
    """One picture, or (image None) the reason why there is none; `detail` says it for people.

    `frame` counts a video's frames from 0. `note`: what users should know of the file, once.
    """

    file: PictureFile
    frame: int | None
    image: Image | None
    reason: str | None = None
    detail: str | None = None
    note: str | None = None

    @property
    def id(self) -> str:
        """The file's path; for videos with the frame's number."""
        path = printable(self.file.path)
        return path if self.frame is None else f"{path}#{self.frame:06d}"

    @property
    def name(self) -> Path:
        """Where results about the picture belong, below an output folder and without a suffix."""
        stem = self.file.name.with_suffix("")
        return stem if self.frame is None else stem / f"{self.frame:06d}"


@dataclass(frozen=True)
class Inputs:
    """The files that a command was asked for, and what was passed over in its folders."""

    files: list[PictureFile]
    passed_over: list[PassedOver]

    @property
    def may_miss_pictures(self) -> bool:
        """Whether something could not be looked into."""
        return any(each.may_hide_pictures for each in self.passed_over)


def find_inputs(
    inputs: Sequence[Path], ignore: Path, bit_depth: int | None = None, depths: Mapping[Path, int | None] = NO_DEPTHS
) -> Inputs:
    """The files that `inputs` name; folders are searched with their subfolders, in natural order, without `ignore`.

    Names are made different by a number where two files would share one. `bit_depth` holds for all files, and `depths`
    before it for those that it names. Raises MissingResource for an input that is
    not there, ConfigError when nothing was found.
    """
    files: list[PictureFile] = []
    passed_over: list[PassedOver] = []
    for given in inputs:
        if given.is_dir():
            try:
                listing = list_folder(given, subfolders=True, videos=True, ignore=ignore.resolve())
            except OSError as error:
                raise MissingResource(f"folder {printable(given)} can't be read: {error.strerror}") from error
            files += [PictureFile(path, path.relative_to(given)) for path in listing.files]
            passed_over += listing.passed_over
        elif given.exists():
            files.append(PictureFile(given, Path(given.name)))
        else:
            raise MissingResource(f"no image, video or folder {printable(given)}: check the path")
    if not files:
        described = f"; {describe(passed_over)}" if passed_over else ""
        wanted = ", ".join(sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES))
        named = ", ".join(printable(path) for path in inputs)
        raise ConfigError(f"no images or videos in {named}: wanted files that end in {wanted}{described}")
    files = [replace(file, bit_depth=depths.get(file.path) or bit_depth) for file in files]
    return Inputs(_with_different_names(files), passed_over)


def pictures(files: Sequence[PictureFile]) -> Iterator[Picture]:
    """Read the files one by one. A bad file becomes a picture without an image.

    Raises MissingExtra where a file is a video and the package that reads it is not installed.
    """
    for file in files:
        if file.is_video:
            yield from _video_frames(file)
            continue
        try:
            yield Picture(file, None, read_picture(file.path, bit_depth=file.bit_depth))
        except PictureTooLarge as error:
            yield Picture(file, None, None, TOO_LARGE, str(error))
        except UnreadablePicture as error:
            yield Picture(file, None, None, UNREADABLE, str(error))


def _with_different_names(files: Sequence[PictureFile]) -> list[PictureFile]:
    taken: set[Path] = set()
    renamed = []
    for file in files:
        name, number = file.name, 1
        while name.with_suffix("") in taken:
            number += 1
            name = file.name.with_name(f"{file.name.stem}-{number}{file.name.suffix}")
        taken.add(name.with_suffix(""))
        renamed.append(replace(file, name=name))
    return renamed


def _video_frames(file: PictureFile) -> Iterator[Picture]:
    try:
        from f2pnet.pictures.video import UnreadableVideo, VideoCutShort, VideoFile
    except ModuleNotFoundError as error:
        if error.name != "av":
            raise
        raise MissingExtra("video files", "camera") from error
    frame = 0
    try:
        with VideoFile(file.path, MAX_DECODED_BYTES) as video:
            for picture in video.pictures():
                reason = None if picture.problem is None else TOO_LARGE if picture.too_large else UNREADABLE
                note = video.note if frame == 0 else None
                yield Picture(file, frame, picture.pixels, reason, picture.problem, note)
                frame += 1
        if frame == 0:
            yield Picture(file, None, None, UNREADABLE, "it holds no picture")
    except VideoCutShort as error:
        yield Picture(file, frame, None, TRUNCATED, str(error))
    except UnreadableVideo as error:
        yield Picture(file, frame or None, None, UNREADABLE, str(error))

"""File names as other people's annotations hold them: absolute, with `..`, of another system, of another machine."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath

from f2pnet.errors import ConfigError, MissingResource

SPLIT_WORDS = {
    "train": "train", "training": "train", "trainval": "train",
    "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
LONGEST_NAME = 1024


def find_image(name: object, folder: Path, places: Iterable[Path], where: str) -> Path:
    """The image that an annotation names, inside the data set's `folder`; `places` are tried first to last.

    Of an absolute name, as another machine wrote it, the longest end that is there counts. `where` names file and
    annotation for messages. Raises ConfigError for a name that is none, or leads out of the folder; MissingResource
    where no image is there.
    """
    if not isinstance(name, str) or not name.strip() or "\0" in name or len(name) > LONGEST_NAME:
        raise ConfigError(f"{where}: file name is {str(name)[:80]!r}, wanted the name of an image")
    asked = PurePosixPath(name.replace("\\", "/"))
    drive = PureWindowsPath(name).drive
    is_absolute = asked.is_absolute() or bool(drive)
    if not is_absolute and (found := _first(inside(place / asked, folder) for place in places)):
        return found
    ends = [part for part in asked.parts if part not in ("/", "..", ".", drive)]
    tried = [PurePosixPath(*ends[start:]) for start in range(len(ends))] if is_absolute or ".." in asked.parts else []
    if found := _first(inside(place / end, folder) for end in tried for place in places):
        return found
    if is_absolute or ".." in asked.parts:
        raise ConfigError(f"{where}: image {name} is not in the data set's folder {folder}: move it there")
    raise MissingResource(f"{where}: image {name} is in none of: {', '.join(map(str, dict.fromkeys(places)))}")


def inside(path: Path, folder: Path) -> Path | None:
    """`path` without `..`, where that is in the folder by its name; links may lead elsewhere."""
    plain, root = Path(os.path.normpath(path.absolute())), Path(os.path.normpath(folder.absolute()))
    return folder / plain.relative_to(root) if plain.is_relative_to(root) else None


def identity_of(image: Path, folder: Path) -> str:
    """A name for an image that is a relative path without `..`: masks can be written under it."""
    found = inside(image, folder)
    return image.name if found is None else found.relative_to(folder).as_posix()


def split_of(names: Iterable[str]) -> str | None:
    """train, val or test, by the first of these names of files and folders that says so; None where none does."""
    for name in names:
        for part in re.split(r"[-_. ]", name.lower()):
            if (word := part.rstrip("0123456789")) in SPLIT_WORDS:
                return SPLIT_WORDS[word]
    return None


def _first(paths: Iterable[Path | None]) -> Path | None:
    for path in paths:
        try:
            if path is not None and path.is_file():
                return path
        except OSError:  # a name that no file system holds
            continue
    return None

"""Which files of a folder are read, and which are passed over: each of those has a name and a reason."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from f2pnet.pictures.suffixes import is_image, is_video
from f2pnet.text import printable

NAMES_SHOWN = 20


@dataclass(frozen=True)
class PassedOver:
    """A file or folder that was found and is not read. `may_hide_pictures`: nobody knows what is behind it."""

    path: Path
    reason: str
    may_hide_pictures: bool = False

    def __str__(self) -> str:
        return f"{printable(self.path)} ({self.reason})"


@dataclass(frozen=True)
class Listing:
    """What a folder holds: files to read, in natural order, and what is passed over."""

    files: list[Path] = field(default_factory=list)
    passed_over: list[PassedOver] = field(default_factory=list)


def list_folder(folder: Path, *, subfolders: bool, videos: bool, ignore: Path | None = None) -> Listing:
    """The pictures in `folder` (and its `subfolders`; with `videos`, these too), without the folder `ignore`.

    Links to files are followed, and a broken one counts as a picture that can't be read: it was due. Links to folders
    are passed over. Raises OSError when `folder` itself can't be read.
    """
    found = Listing()
    for entry in sorted(os.scandir(folder), key=lambda entry: natural_key(entry.name)):
        path = Path(entry.path)
        if ignore is not None and path.resolve() == ignore:
            continue
        if entry.name.startswith("."):
            found.passed_over.append(PassedOver(path, "hidden"))
        elif entry.is_dir(follow_symlinks=False) and subfolders:
            _add_subfolder(path, found, videos, ignore)
        elif entry.is_dir():
            found.passed_over.append(_folder_passed_over(entry, path))
        elif is_image(path) or (videos and is_video(path)):
            _add_file(entry, path, found)
        else:
            found.passed_over.append(PassedOver(path, _unread_kind(path)))
    return found


def describe(passed_over: Sequence[PassedOver]) -> str:
    """How many files were passed over for which reason, and their names; the names end after `NAMES_SHOWN`."""
    counts = Counter(each.reason for each in passed_over)
    described = ", ".join(f"{count} {reason}" for reason, count in counts.items())
    worst_first = sorted(passed_over, key=lambda each: not each.may_hide_pictures)
    names = ", ".join(printable(each.path) for each in worst_first[:NAMES_SHOWN])
    rest = f" and {len(passed_over) - NAMES_SHOWN} more" if len(passed_over) > NAMES_SHOWN else ""
    return f"passed over {described}: {names}{rest}"


def natural_key(name: str) -> list[tuple[int, str]]:
    """Sorts numbers within names by their value: `part2` before `part10`."""
    parts = re.findall(r"\d+|\D+", name.lower())
    return [(int(part), "") if part.isdigit() and part.isascii() else (-1, part) for part in parts] + [(-2, name)]


def _add_subfolder(path: Path, found: Listing, videos: bool, ignore: Path | None) -> None:
    try:
        inner = list_folder(path, subfolders=True, videos=videos, ignore=ignore)
    except OSError as error:
        reason = f"folder that can't be read: {error.strerror}"
        found.passed_over.append(PassedOver(path, reason, may_hide_pictures=True))
        return
    found.files.extend(inner.files)
    found.passed_over.extend(inner.passed_over)


def _add_file(entry: os.DirEntry[str], path: Path, found: Listing) -> None:
    is_broken_link = entry.is_symlink() and not path.exists()
    if entry.is_file() or is_broken_link:
        found.files.append(path)
    else:  # a pipe or socket would keep its reader waiting for ever
        found.passed_over.append(PassedOver(path, "not a regular file"))


def _folder_passed_over(entry: os.DirEntry[str], path: Path) -> PassedOver:
    if entry.is_symlink():
        return PassedOver(path, "link to a folder", may_hide_pictures=True)
    return PassedOver(path, "subfolder")


def _unread_kind(path: Path) -> str:
    if is_video(path):
        return "video among pictures"
    return f"file ending in {printable(path.suffix)}" if path.suffix else "file without a suffix"

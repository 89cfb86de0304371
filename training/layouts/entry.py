"""What every reader gives: the records of a source, before they are written as an index."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from f2pnet.pictures.folder import list_folder

INDEX_FOLDER = "f2p-index"
"""Where the index of a data set in another layout is written, inside of it."""


@dataclass(frozen=True)
class Entry:
    """One image of a source. `split` is "train", "val" or "test", None where the source doesn't divide its images."""

    id: str
    image: Path
    mask: Path | None
    class_name: str  # "good" for an image without a defect
    split: str | None = None
    part_id: str | None = None
    class_mask: Path | None = None
    bit_depth: int | None = None  # of the 16-bit pixels of `image`, where its file does not say
    left_out: str | None = None  # why the image can't be used, where it can't: it is named, and in no list

    @property
    def label(self) -> int:
        """0 good, 1 defective."""
        return int(self.class_name != GOOD)


GOOD = "good"


def images_in(folder: Path) -> list[Path]:
    """The image files directly in a folder, sorted by name; none where there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(list_folder(folder, subfolders=False, videos=False).files)


def images_below(folder: Path) -> list[Path]:
    """The image files in a folder and its subfolders, sorted, without our index; none where there is no such folder."""
    if not folder.is_dir():
        return []
    listing = list_folder(folder, subfolders=True, videos=False)
    return sorted(path for path in listing.files if INDEX_FOLDER not in path.parts)


def good_images(folder: Path) -> Iterator[Entry]:
    """The images of the subfolder `good/`: they need no annotation in any layout of label tools."""
    for image in images_below(folder / GOOD):
        yield Entry(image.relative_to(folder).as_posix(), image, None, GOOD)


def first_image(folder: Path, stems: Iterable[str]) -> Path | None:
    """The image file with the first of these names that is there, whatever its suffix."""
    by_stem = {path.stem: path for path in images_in(folder)}
    return next((by_stem[stem] for stem in stems if stem in by_stem), None)

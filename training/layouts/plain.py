"""The plain layout: `images/` and `masks/` with the same names; `good/` and folders for train and test optional."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from training.data.masks import Mask, read_mask
from training.layouts.entry import GOOD, Entry, good_images, images_below
from training.layouts.label_tools.labelled import Problems
from training.layouts.paths import split_of

IMAGES, MASKS = "images", "masks"
MASK_ENDINGS = ("", "_mask", "-mask", "_GT", "_gt", "_label", "_seg")


def is_plain(folder: Path) -> bool:
    return bool(_roots(folder))


def plain(folder: Path) -> Iterator[Entry]:
    """An image is defective where its mask marks something. One without a mask file is good, and that is reported.

    Masks may end in `_mask`, `_GT` or `_label`. Raises ConfigError for a mask that belongs to no image, or to two:
    names that don't fit would turn defective images into good ones.
    """
    problems = Problems()
    entries = list(good_images(folder))
    for root in _roots(folder):
        entries += _of_root(folder, root, problems)
    problems.check()
    yield from entries


def _roots(folder: Path) -> list[Path]:
    places = [folder, *sorted(path for path in folder.iterdir() if path.is_dir() and split_of([path.name]))]
    return [place for place in places if (place / IMAGES).is_dir() and (place / MASKS).is_dir()]


def _of_root(folder: Path, root: Path, problems: Problems) -> Iterator[Entry]:
    masks = {path.relative_to(root / MASKS).with_suffix("").as_posix(): path for path in images_below(root / MASKS)}
    users: dict[Path, list[Path]] = defaultdict(list)
    pairs: list[tuple[Path, Path | None]] = []
    for image in images_below(root / IMAGES):
        stem = image.relative_to(root / IMAGES).with_suffix("").as_posix()
        mask = next((masks[stem + ending] for ending in MASK_ENDINGS if stem + ending in masks), None)
        pairs.append((image, mask))
        if mask is not None:
            users[mask].append(image)
    for mask in masks.values():
        if mask not in users:
            problems.add(str(mask), f"belongs to no image: wanted one of its name in {root / IMAGES}")
        elif len(users[mask]) > 1:
            problems.add(str(mask), f"belongs to {' and '.join(image.name for image in users[mask])}: wanted one image")
    for image, mask in pairs:
        with problems.collected():
            yield _entry(folder, image, mask, problems)


def _entry(folder: Path, image: Path, mask: Path | None, problems: Problems) -> Entry:
    place = image.relative_to(folder)
    part = image.name.split(".rf.")[0] if ".rf." in image.name else None  # copies of one picture by Roboflow
    name = "defect" if mask is not None and marks(read_mask(mask), mask, problems) else GOOD
    return Entry(place.as_posix(), image, mask, name, split_of(place.parts[:-1]), part)


def marks(mask: Mask, path: Path, problems: Problems) -> bool:
    """Whether a mask marks a defect; one that holds nothing but ignored pixels is a problem."""
    if mask.ignored is not None and not mask.defect.any():
        problems.add(str(path), "mask holds ignored pixels and no defect: is its image good or defective?")
    return bool(mask.defect.any())

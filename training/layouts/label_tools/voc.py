"""Pascal VOC masks, as VOC itself, CVAT and Datumaro write them: `JPEGImages/`, `SegmentationClass/`, `ImageSets/`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.data.examples import fitted_mask
from training.data.masks import IGNORE, Mask, Values, mask_values, read_mask
from training.layouts.entry import GOOD, Entry, good_images, images_below
from training.layouts.label_tools.labelled import Problems, size_of, write_mask
from training.layouts.paths import SPLIT_WORDS
from training.layouts.plain import marks

IMAGES, MASKS, LISTS = "JPEGImages", "SegmentationClass", "ImageSets/Segmentation"
UNLABELLED = "no mask in SegmentationClass, so not labelled; put good images into good/"


@dataclass(frozen=True)
class _Picture:
    image: Path
    mask: Path
    indices: Values  # (H, W), class indices; ignored pixels are 0


def is_voc(folder: Path) -> bool:
    return (folder / IMAGES).is_dir() and (folder / MASKS).is_dir()


def voc(folder: Path, masks: Path) -> Iterator[Entry]:
    """Images with a mask; one whose mask is empty is good. Index 255 is ignored, as VOC's border between objects is.

    Class names come from `labelmap.txt`; without it they are class1, class2, ... Lists in `ImageSets/Segmentation`
    divide. Raises ConfigError for masks without an image.
    """
    problems = Problems()
    splits, names = _splits(folder), _names(folder)
    found = {path.relative_to(folder / MASKS).with_suffix("").as_posix(): path for path in images_below(folder / MASKS)}
    pictures: dict[str, _Picture | None] = {}
    for image in images_below(folder / IMAGES):
        name = image.relative_to(folder / IMAGES).with_suffix("").as_posix()
        mask = found.pop(name, None)
        pictures[name] = None
        if mask is None:
            yield Entry(name, image, None, GOOD, left_out=UNLABELLED)
            continue
        with problems.collected():
            own = read_mask(mask)
            pictures[name] = _Picture(image, mask, _indices(mask, own) if marks(own, mask, problems) else np.zeros(1))
    for mask in found.values():
        problems.add(str(mask), f"belongs to no image: wanted one of its name in {folder / IMAGES}")
    problems.check()
    yield from _entries({name: each for name, each in pictures.items() if each}, splits, names, masks)
    yield from good_images(folder)


def _entries(pictures: dict[str, _Picture], splits: dict[str, str], names: list[str], masks: Path) -> Iterator[Entry]:
    """Class masks count the sorted names from 1, so they are written anew."""
    used = sorted({int(index) for each in pictures.values() for index in np.unique(each.indices)} - {0})
    name_of = {index: names[index] if index < len(names) else f"class{index}" for index in used}
    numbers = {name: number for number, name in enumerate(sorted(set(name_of.values())), start=1)}
    table = np.zeros(256, np.uint8)
    for index, class_name in name_of.items():
        table[index] = numbers[class_name]
    for name, each in pictures.items():
        present = sorted({name_of[int(index)] for index in np.unique(each.indices) if index})
        written = None
        if present and len(numbers) > 1:
            (width, height), _ = size_of(each.image)
            placed = fitted_mask(each.mask, Mask(table[each.indices], None, "indices"), each.image, (height, width))
            written = write_mask(masks / "classes" / f"{name}.png", placed.defect)
        yield Entry(name, each.image, each.mask, "+".join(present) or GOOD, splits.get(name), class_mask=written)


def _indices(path: Path, mask: Mask) -> Values:
    values, void = mask_values(path)
    kept = np.where((values == IGNORE) if void is None else void, 0, values)
    return np.where(mask.defect > 0, np.maximum(kept, 1), 0).astype(np.uint8)


def _splits(folder: Path) -> dict[str, str]:
    """The split of each name in the lists; train and val go before trainval."""
    found: dict[str, str] = {}
    for word in ("test", "val", "train", "trainval"):
        path = folder / LISTS / f"{word}.txt"
        if not path.is_file():
            continue
        for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines():
            if words := line.split():
                found.setdefault(words[0], SPLIT_WORDS[word])
    return found


def _names(folder: Path) -> list[str]:
    """Class names by index, of CVAT's `labelmap.txt`: `name:r,g,b:parts:actions`, the background first."""
    path = folder / "labelmap.txt"
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    return [line.split(":")[0].strip() for line in lines if line.strip() and not line.startswith("#")]

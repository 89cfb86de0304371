"""COCO JSON: polygons and run lengths, as label tools write them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from f2pnet.errors import ConfigError, MissingResource
from training.layouts.entry import GOOD, Entry

SPLIT_WORDS = {"train": "train", "training": "train", "test": "test", "val": "test", "valid": "test"}
"""A validation list becomes the test list where there is no test list; training holds out its own."""


def is_coco(folder: Path) -> bool:
    return bool(annotation_files(folder))


def annotation_files(folder: Path) -> list[Path]:
    """COCO files of a data set: in the folder, in `annotations/`, or one in each split's folder."""
    found = [*folder.glob("*.json"), *folder.glob("annotations/*.json"), *folder.glob("*/_annotations.coco.json")]
    return sorted(path for path in found if _looks_like_coco(path))


def coco(folder: Path, masks: Path) -> Iterator[Entry]:
    """The images of all annotation files; masks are drawn into `masks` as PNG, and class masks where classes mix.

    A crowd region counts as defect like any other. Raises ConfigError where a file doesn't fit, MissingResource where
    an image is not there.
    """
    files = annotation_files(folder)
    splits = {path: _split_of(path, folder) for path in files}
    if "test" in {_word_of(path, folder) for path in files}:
        files = [path for path in files if not (_word_of(path, folder) or "").startswith("val")]
    contents = {path: json.loads(path.read_text(encoding="utf-8")) for path in files}
    numbers = _class_numbers(contents.values())
    for path, content in contents.items():
        shapes = defaultdict(list)
        for annotation in content["annotations"]:
            shapes[annotation["image_id"]].append(annotation)
        names = {category["id"]: str(category["name"]) for category in content["categories"]}
        for image in content["images"]:
            yield _entry(path, folder, image, shapes[image["id"]], names, numbers, splits[path], masks)


def _entry(
    file: Path,
    folder: Path,
    image: dict[str, Any],
    shapes: list[dict[str, Any]],
    names: dict[int, str],
    numbers: dict[str, int],
    split: str | None,
    masks: Path,
) -> Entry:
    identity = f"{split}/{image['file_name']}" if split else str(image["file_name"])
    path = _image_path(file, folder, image["file_name"])
    if not shapes:
        return Entry(identity, path, None, GOOD, split)
    classes = np.zeros((image["height"], image["width"]), np.uint8)
    for shape in shapes:
        classes[_pixels(shape, classes.shape, file)] = numbers[names[shape["category_id"]]]
    present = sorted({names[shape["category_id"]] for shape in shapes})
    mask_path = _write(masks / "binary" / f"{identity}.png", np.where(classes > 0, 255, 0).astype(np.uint8))
    class_path = _write(masks / "classes" / f"{identity}.png", classes)
    return Entry(identity, path, mask_path, "+".join(present), split, class_mask=class_path)


def _pixels(shape: dict[str, Any], size: tuple[int, ...], file: Path) -> np.ndarray:
    """Which pixels (H, W; bool) a shape covers."""
    height, width = size
    outline = shape.get("segmentation")
    if not outline:
        raise ConfigError(
            f"{file}: annotation {shape.get('id')} has no segmentation, only a box: F2P-Net learns from outlines; "
            "label polygons or masks"
        )
    if isinstance(outline, dict) and isinstance(outline["counts"], str):
        packed = [outline]
    else:
        packed = coco_mask.frPyObjects(outline if isinstance(outline, list) else [outline], height, width)
    if any(tuple(run["size"]) != (height, width) for run in packed):
        raise ConfigError(f"{file}: annotation {shape.get('id')} is of another size than its image {height}x{width}")
    return np.asarray(coco_mask.decode(coco_mask.merge(packed)), bool)


def _class_numbers(contents: Any) -> dict[str, int]:
    """1, 2, ... for the sorted names of the categories that occur, as `training.records.class_names` counts them."""
    used = set()
    for content in contents:
        names = {category["id"]: str(category["name"]) for category in content["categories"]}
        used |= {names[annotation["category_id"]] for annotation in content["annotations"]}
    return {name: number for number, name in enumerate(sorted(used), start=1)}


def _image_path(file: Path, folder: Path, name: str) -> Path:
    word = file.parent.name if file.name == "_annotations.coco.json" else file.stem.removeprefix("instances_")
    places = (file.parent / name, folder / name, folder / "images" / name, folder / word / name,
              folder / "images" / word / name)  # fmt: skip
    for place in places:
        if place.is_file():
            return place
    raise MissingResource(f"{file} names the image {name}, which is in none of: {', '.join(map(str, places))}")


def _word_of(file: Path, folder: Path) -> str | None:
    """train, val or test, by the name of the file or of its folder."""
    place = file.parent.name if file.name == "_annotations.coco.json" else file.stem
    for part in place.lower().replace("-", "_").replace(".", "_").split("_"):
        if (word := part.rstrip("0123456789")) in SPLIT_WORDS:
            return word
    return None


def _split_of(file: Path, folder: Path) -> str | None:
    word = _word_of(file, folder)
    return SPLIT_WORDS[word] if word else None


def _looks_like_coco(path: Path) -> bool:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError):
        return False
    return isinstance(content, dict) and {"images", "annotations", "categories"} <= set(content)


def _write(path: Path, picture: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), picture):
        raise MissingResource(f"{path}: the mask could not be written; look at the disk and its rights")
    return path

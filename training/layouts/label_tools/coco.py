"""COCO JSON: polygons and run lengths, as label tools write them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from training.layouts.entry import Entry
from training.layouts.label_tools.labelled import (
    NO_BOX,
    Draw,
    Drawn,
    Labelled,
    Problems,
    Shape,
    drawn,
    polygon,
    refused,
    runs,
)
from training.layouts.paths import find_image, identity_of, split_of
from training.layouts.text_files import as_list, as_object, peek_json, read_json, shown

ROBOFLOW = "_annotations.coco.json"


def is_coco(folder: Path) -> bool:
    return bool(annotation_files(folder))


def annotation_files(folder: Path) -> list[Path]:
    """COCO files of a data set: in the folder, in `annotations/`, or one in each split's folder."""
    found = [*folder.glob("*.json"), *folder.glob("annotations/*.json"), *folder.glob(f"*/{ROBOFLOW}")]
    return sorted(path for path in found if _looks_like_coco(path))


def coco(folder: Path, masks: Path) -> Iterator[Entry]:
    """The images of all annotation files; masks are drawn into `masks` as PNG, and class masks where classes mix.

    A crowd region counts as defect like any other, an image without annotations as good. Raises ConfigError where a
    file doesn't fit, MissingResource where an image is not there.
    """
    problems = Problems()
    pictures: list[Labelled] = []
    for path in annotation_files(folder):
        with problems.collected():
            pictures += _pictures(path, folder, problems)
    problems.check()
    return drawn(pictures, masks)


def _pictures(path: Path, folder: Path, problems: Problems) -> Iterator[Labelled]:
    content = as_object(read_json(path), str(path))
    names = _categories(path, content, problems)
    shapes: dict[Any, list[Shape]] = defaultdict(list)
    images: dict[Any, dict[str, Any]] = {}
    for place, given in enumerate(as_list(content.get("images"), str(path), "'images'")):
        with problems.collected():
            image = as_object(given, f"{path}: image {place + 1} of the list")
            number = _key(image.get("id"))
            if number is None or number in images:
                said = "has no id" if number is None else f"has the id of {images[number].get('file_name')}"
                problems.add(f"{path}: image {shown(image.get('file_name'))}", f"{said} ({shown(image.get('id'))})")
            else:
                images[number] = image
    for place, given in enumerate(as_list(content.get("annotations"), str(path), "'annotations'")):
        with problems.collected():
            annotation = as_object(given, f"{path}: annotation {place + 1} of the list")
            identity = annotation.get("id")
            where = f"{path}: annotation {shown(identity)}"
            if identity is None:
                where = f"{path}: annotation {place + 1} of the list, without an id,"
            number, category = _key(annotation.get("image_id")), _key(annotation.get("category_id"))
            if number not in images:
                problems.add(where, f"belongs to image {shown(annotation.get('image_id'))}, which is not in the file")
            elif category not in names:
                problems.add(where, f"has category {shown(annotation.get('category_id'))}, which is not in the file")
            else:
                shapes[number].append(Shape(names[category], where, _outline(annotation.get("segmentation"))))
    for number, image in images.items():
        with problems.collected():
            yield _labelled(path, folder, image, shapes[number])


def _labelled(path: Path, folder: Path, image: dict[str, Any], shapes: list[Shape]) -> Labelled:
    name = image.get("file_name")
    where = f"{path}: image {shown(image.get('id'))}"
    words = [path.parent.name] if path.name == ROBOFLOW else [path.stem]
    word = words[0].removeprefix("instances_")
    places = (path.parent, folder, folder / "images", folder / word, folder / "images" / word)
    found = find_image(name, folder, places, where)
    split = split_of(words)
    plain = Path(str(name))
    known = plain.as_posix() if not plain.is_absolute() and ".." not in plain.parts else identity_of(found, folder)
    part = str(name).split(".rf.")[0] if ".rf." in str(name) else None  # copies of one picture by Roboflow
    sides = (image.get("width"), image.get("height"))
    stated = (sides[0], sides[1]) if all(isinstance(side, int) and side > 0 for side in sides) else None
    return Labelled(f"{split}/{known}" if split else known, found, shapes, where, split, part, stated)  # type: ignore[arg-type]


def _categories(path: Path, content: dict[str, Any], problems: Problems) -> dict[Any, str]:
    names: dict[Any, str] = {}
    for place, given in enumerate(as_list(content.get("categories"), str(path), "'categories'")):
        with problems.collected():
            where = f"{path}: category {place + 1} of the list"
            category = as_object(given, where)
            number, name = _key(category.get("id")), category.get("name")
            if number is None or not isinstance(name, str):
                problems.add(where, f"has id {shown(category.get('id'))} and name {shown(name)}, wanted both")
            elif names.setdefault(number, name) != name:
                problems.add(where, f"has the id {number} of '{names[number]}' too")
    return names


def _outline(outline: Any) -> Draw:
    if not outline:
        return refused(f"has no segmentation, {NO_BOX}")
    if isinstance(outline, dict):
        return _run_lengths(outline)
    if not isinstance(outline, list) or not all(isinstance(part, list) for part in outline):
        return refused(f"has a segmentation that is {shown(outline)} of numbers, wanted a list of outlines")

    def draw(height: int, width: int) -> Drawn:
        pixels = np.zeros((height, width), bool)
        for part in outline:
            if len(part) % 2:
                raise ValueError(f"outline of {len(part)} numbers, wanted pairs of x and y")
            pixels |= polygon(list(zip(part[::2], part[1::2], strict=True)))(height, width)
        return pixels

    return draw


def _run_lengths(outline: dict[str, Any]) -> Draw:
    def draw(height: int, width: int) -> Drawn:
        if outline.get("size") != [height, width]:
            raise ValueError(f"is of size {outline.get('size')}, another size than its image {height}x{width}")
        counts = outline.get("counts")
        if isinstance(counts, str):
            counts = unpacked(counts)
        if not isinstance(counts, list):
            raise ValueError("has run lengths that are neither a list nor a text")
        return runs(counts, (height, width), by_column=True)

    return draw


def unpacked(text: str) -> list[int]:
    """COCO's compressed run lengths: six bits a letter, low ones first, from the third on as differences to the one
    before last. Read here since pycocotools reads past the end of a damaged text."""
    counts: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise ValueError("has damaged run lengths")
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("has run lengths that are cut off")
    return counts


def _key(value: Any) -> int | str | None:
    """An id: a number or a text; other tools write numbers as text in one place and not in another."""
    if isinstance(value, bool) or not isinstance(value, int | str | float):
        return None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return int(value) if str(value).lstrip("-").isdecimal() else value


def _looks_like_coco(path: Path) -> bool:
    content = peek_json(path)
    return isinstance(content, dict) and "images" in content and bool({"annotations", "categories"} & set(content))

"""LabelMe: a JSON file for each image, with its shapes in pixels."""

from __future__ import annotations

import base64
import binascii
import io
import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from training.layouts.entry import GOOD, INDEX_FOLDER, Entry, good_images, images_below
from training.layouts.label_tools.labelled import (
    NO_BOX,
    Draw,
    Labelled,
    Problems,
    Shape,
    drawn,
    ellipse,
    pasted,
    polygon,
    refused,
)
from training.layouts.paths import find_image, identity_of, split_of
from training.layouts.text_files import as_list, as_object, peek_json, read_json, shown

LOOKED_AT = 5
UNLABELLED = "no JSON file of LabelMe, so not labelled; put good images into good/"


def is_labelme(folder: Path) -> bool:
    return any(_is_of_labelme(path) for path in islice(_files(folder), LOOKED_AT))


def labelme(folder: Path, masks: Path) -> Iterator[Entry]:
    """Images with a JSON file: without shapes they are good. Images without one are left out and named."""
    problems = Problems()
    pictures: list[Labelled] = []
    for path in _files(folder):
        with problems.collected():
            if _is_of_labelme(path):
                pictures.append(_picture(folder, path))
    problems.check()
    labelled = {picture.image for picture in pictures}
    for image in images_below(folder):
        place = image.relative_to(folder)
        if image not in labelled and place.parts[0] != GOOD:
            yield Entry(place.as_posix(), image, None, GOOD, left_out=UNLABELLED)
    yield from good_images(folder)
    yield from drawn(pictures, masks)


def _files(folder: Path) -> Iterator[Path]:
    yield from sorted(path for path in folder.rglob("*.json") if INDEX_FOLDER not in path.parts)


def _is_of_labelme(path: Path) -> bool:
    content = peek_json(path)
    return isinstance(content, dict) and "shapes" in content and "imagePath" in content


def _picture(folder: Path, path: Path) -> Labelled:
    content = as_object(read_json(path), str(path))
    image = find_image(content.get("imagePath"), folder, (path.parent, folder, folder / "images"), str(path))
    shapes = []
    for place, given in enumerate(as_list(content.get("shapes"), str(path), "'shapes'"), start=1):
        where = f"{path}: shape {place}"
        shape = as_object(given, where)
        shapes.append(Shape(str(shape.get("label") or ""), where, _draw(shape)))
    sides = (content.get("imageWidth"), content.get("imageHeight"))
    stated = (sides[0], sides[1]) if all(isinstance(side, int) and side > 0 for side in sides) else None
    identity = identity_of(image, folder)
    return Labelled(identity, image, shapes, str(path), split_of(Path(identity).parts[:-1]), stated=stated)  # type: ignore[arg-type]


def _draw(shape: dict[str, Any]) -> Draw:
    kind, points = shape.get("shape_type") or "polygon", shape.get("points")
    if kind == "polygon":
        return polygon(points)
    if kind == "mask":
        return _mask(shape.get("mask"), points)
    if kind == "circle":
        return _circle(points)
    return refused(NO_BOX if kind == "rectangle" else f"is of the kind {shown(kind)}, wanted a polygon, circle or mask")


def _circle(points: Any) -> Draw:
    try:
        (x, y), (edge_x, edge_y) = points
        radius = math.hypot(edge_x - x, edge_y - y)
        return ellipse((float(x), float(y)), (radius, radius))
    except (TypeError, ValueError):
        return refused("is a circle without a centre and a point on its edge")


def _mask(text: Any, points: Any) -> Draw:
    """A PNG in base64 that fills the box from the first point to the last."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(text, validate=True))) as file:
            part = np.asarray(file.convert("L")) > 0
        (left, top), *_ = points
        return pasted(part, round(left), round(top))
    except (TypeError, ValueError, binascii.Error, OSError, UnidentifiedImageError, SyntaxError):
        return refused("holds a mask that is damaged")

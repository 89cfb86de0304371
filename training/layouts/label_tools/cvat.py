"""CVAT's own XML for images (format 1.1): polygons, ellipses and run-length masks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from f2pnet.errors import ConfigError
from training.layouts.entry import GOOD, Entry, good_images
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
    runs,
)
from training.layouts.paths import find_image, identity_of, split_of
from training.layouts.text_files import read_xml

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

SHAPES = ("polygon", "mask", "ellipse", "box", "polyline", "points", "cuboid", "skeleton")


def is_cvat(folder: Path) -> bool:
    return bool(annotation_files(folder))


def annotation_files(folder: Path) -> list[Path]:
    """XML files in the folder or in `annotations/` whose root is <annotations>; those of VOC's boxes are not."""
    found = [*folder.glob("*.xml"), *folder.glob("annotations/*.xml")]
    return sorted(path for path in found if b"<annotations" in path.read_bytes()[:4096])


def cvat(folder: Path, masks: Path) -> Iterator[Entry]:
    """An image without shapes is good. Raises ConfigError for boxes, lines and points, and for tracks of videos."""
    problems = Problems()
    pictures: list[Labelled] = []
    for path in annotation_files(folder):
        with problems.collected():
            root = read_xml(path)
            if root.find("track") is not None:
                raise ConfigError(f"{path}: holds tracks of a video: export the task as 'CVAT for images'")
            for image in root.iter("image"):
                with problems.collected():
                    pictures.append(_picture(folder, path, image, problems))
    problems.check()
    yield from good_images(folder)
    yield from drawn(pictures, masks)


def _picture(folder: Path, path: Path, image: Element, problems: Problems) -> Labelled:
    where = f"{path}: image {image.get('id')} ({image.get('name')})"
    subset = image.get("subset") or ""
    places = (folder / "images" / subset, folder / "images", path.parent, folder, folder / subset, folder / "data")
    found = find_image(image.get("name"), folder, places, where)
    shapes = []
    for number, shape in enumerate((each for each in image if each.tag in SHAPES), start=1):
        at = f"{where}, {shape.tag} {number}"
        shapes.append(Shape(shape.get("label") or "", at, _draw(shape)))
    tags = [tag.get("label") or "" for tag in image.iter("tag")]
    if not shapes and any(tag.lower() != GOOD for tag in tags):
        problems.add(where, f"has the tag '{tags[0]}' and no outline: is it good or defective?")
    identity = identity_of(found, folder)
    split = split_of([subset, *Path(identity).parts[:-1]])
    return Labelled(identity, found, shapes, where, split, stated=_sides(image, where))


def _sides(image: Element, where: str) -> tuple[int, int] | None:
    width, height = image.get("width"), image.get("height")
    if width is None or height is None:
        return None
    try:
        return int(width), int(height)
    except ValueError as error:
        raise ConfigError(f"{where}: states the sides {width}x{height}, wanted whole numbers") from error


def _draw(shape: Element) -> Draw:
    try:
        if shape.tag == "polygon":
            return polygon([pair.split(",") for pair in (shape.get("points") or "").split(";") if pair.strip()])
        if shape.tag == "ellipse":
            x, y, across, down, turn = (float(shape.get(key, "0")) for key in ("cx", "cy", "rx", "ry", "rotation"))
            return ellipse((x, y), (across, down), turn)
        if shape.tag == "mask":
            left, top, width, height = (int(shape.get(key, "")) for key in ("left", "top", "width", "height"))
            counts = [int(count) for count in (shape.get("rle") or "").split(",")]
            return pasted(runs(counts, (height, width), by_column=False), left, top)
    except ValueError as error:
        return refused(f"is damaged: {error}")
    return refused(NO_BOX if shape.tag == "box" else f"is of the kind '{shape.tag}', wanted a polygon, ellipse or mask")

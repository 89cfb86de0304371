"""Label Studio's exports JSON and JSON-MIN: polygons, ellipses and brush strokes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from f2pnet.errors import ConfigError, MissingResource
from f2pnet.pictures.suffixes import is_image
from training.layouts.entry import GOOD, Entry, good_images
from training.layouts.label_tools.label_studio_brush import decoded
from training.layouts.label_tools.labelled import (
    NO_BOX,
    Draw,
    Drawn,
    Labelled,
    Problems,
    Shape,
    drawn,
    ellipse,
    refused,
    scaled_polygon,
)
from training.layouts.paths import find_image, identity_of, split_of
from training.layouts.text_files import as_list, as_object, peek_json, read_json, shown

Found = dict[str, Any]
UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")
"""Label Studio puts eight hex digits before the name of an uploaded file."""
NOT_LABELLED = "not labelled yet, or skipped"
SHAPE_KINDS = ("polygon", "brush", "ellipse", "rectangle", "keypoint")


def is_label_studio(folder: Path) -> bool:
    return bool(annotation_files(folder))


def annotation_files(folder: Path) -> list[Path]:
    """JSON files of the folder, or of `annotations/`, that hold a list of tasks."""
    return sorted(path for path in (*folder.glob("*.json"), *folder.glob("annotations/*.json")) if is_export(path))


def is_export(path: Path) -> bool:
    """Whether a file is a list of tasks: JSON, or JSON-MIN."""
    content = peek_json(path)
    if not isinstance(content, list) or not content or not isinstance(content[0], dict):
        return False
    first = content[0]
    return (isinstance(first.get("data"), dict) and ("annotations" in first or "completions" in first)) or (
        {"annotation_id", "annotator"} & set(first) != set() and _image_name(first) is not None
    )


def label_studio(folder: Path, masks: Path) -> Iterator[Entry]:
    """A task whose annotation holds no shape is good; tasks without an annotation, or skipped, are left out and named.

    Raises ConfigError for boxes and points, for tasks with several annotations of which none is the ground truth, and
    for what is damaged.
    """
    problems = Problems()
    pictures: list[Labelled] = []
    left_out: list[Entry] = []
    for path in annotation_files(folder):
        for place, given in enumerate(as_list(read_json(path), str(path), "the file"), start=1):
            with problems.collected():
                task = as_object(given, f"{path}: task {place} of the list")
                where = f"{path}: task {task.get('id', place)}"
                image, results = _image(folder, path, task, where), _results(task, where)
                identity = identity_of(image, folder)
                if results is None:
                    left_out.append(Entry(identity, image, None, GOOD, left_out=NOT_LABELLED))
                else:
                    split = split_of(Path(identity).parts[:-1])
                    pictures.append(
                        Labelled(identity, image, _shapes(results, where), where, split, stated=_sides(results, where))
                    )
    problems.check()
    yield from left_out
    yield from good_images(folder)
    yield from drawn(pictures, masks)


def _results(task: Found, where: str) -> list[Found] | None:
    """The results of the annotation that counts; None where nobody annotated."""
    if "data" not in task:  # JSON-MIN: the lists of shapes stand in the task itself
        lists = [value for value in task.values() if isinstance(value, list)]
        items = [item for each in lists for item in each if isinstance(item, dict)]
        return [{"value": item, "type": _label_key(item), **item} for item in items]
    annotations = [
        as_object(given, f"{where}, an annotation")
        for given in as_list(task.get("annotations", task.get("completions")), where, "'annotations'")
    ]
    kept = [annotation for annotation in annotations if not annotation.get("was_cancelled")]
    if len(kept) > 1:
        truths = [annotation for annotation in kept if annotation.get("ground_truth")]
        if len(truths) != 1:
            raise ConfigError(f"{where}: has {len(kept)} annotations: mark one as ground truth, or delete the others")
        kept = truths
    if not kept:
        return None
    results = as_list(kept[0].get("result"), f"{where}, annotation {kept[0].get('id')}", "'result'")
    return [as_object(result, f"{where}, a result") for result in results]


def _shapes(results: list[Found], where: str) -> list[Shape]:
    """A shape and its label are one result, or two of the same id."""
    labels: dict[str, str] = {}
    for result in results:
        if name := _label(result.get("value")):
            labels[str(result.get("id"))] = name
    shapes = []
    for number, result in enumerate(results, start=1):
        kind = str(result.get("type", ""))
        if not kind.startswith(SHAPE_KINDS):
            continue
        at = f"{where}, result {result.get('id', number)}"
        name = _label(result.get("value")) or labels.get(str(result.get("id")), "")
        shapes.append(Shape(name, at, _draw(kind, result)))
    others = [result for result in results if str(result.get("type", "")).startswith("choices")]
    chosen = [str(choice) for result in others for choice in (result.get("value") or {}).get("choices", [])]
    if not shapes and any(choice.strip().lower() != GOOD for choice in chosen):
        raise ConfigError(f"{where}: has the choice '{chosen[0]}' and no outline: is it good or defective?")
    return shapes


def _label(value: Any) -> str | None:
    key = _label_key(value)
    named = value.get(key) if key else None
    return str(named[0]) if isinstance(named, list) and named else None


def _label_key(value: Any) -> str:
    """`polygonlabels`, `brushlabels`, ...: the key that holds the label of a shape; "" without one."""
    return next((key for key in value if key.endswith("labels")), "") if isinstance(value, dict) else ""


def _draw(kind: str, result: Found) -> Draw:
    value = result.get("value")
    if not isinstance(value, dict):
        return refused("has no value")
    if result.get("image_rotation"):
        return refused(f"is drawn on an image turned by {shown(result['image_rotation'])} degrees: turn the file")
    if kind.startswith("polygon"):
        return scaled_polygon(value.get("points"), 100.0)
    if kind.startswith("brush"):
        return _brush(value.get("rle"))
    if kind.startswith("ellipse"):
        return _ellipse(value)
    return refused(NO_BOX if kind.startswith("rectangle") else f"is of the kind '{kind}', wanted a polygon or brush")


def _brush(data: Any) -> Draw:
    def draw(height: int, width: int) -> Drawn:
        values = decoded(data, 4 * height * width)
        return np.asarray(values.reshape(height, width, 4)[:, :, 3] > 0)

    return draw


def _ellipse(value: Found) -> Draw:
    def draw(height: int, width: int) -> Drawn:
        try:
            numbers = [float(value[key]) for key in ("x", "y", "radiusX", "radiusY")]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError("ellipse without x, y, radiusX and radiusY") from error
        x, y, across, down = np.array(numbers) * (width, height, width, height) / 100
        return ellipse((x, y), (across, down), float(value.get("rotation") or 0))(height, width)

    return draw


def _sides(results: list[Found], where: str) -> tuple[int, int] | None:
    stated = {(result.get("original_width"), result.get("original_height")) for result in results}
    found = {(w, h) for w, h in stated if isinstance(w, int) and isinstance(h, int) and min(w, h) > 0}
    if len(found) > 1:
        raise ConfigError(f"{where}: its results state different sides of the image: {sorted(found)}")
    return next(iter(found), None)


def _image(folder: Path, path: Path, task: Found, where: str) -> Path:
    name = _image_name(task.get("data", task))
    if name is None:
        raise ConfigError(f"{where}: names no image")
    address = urlsplit(name)
    local = parse_qs(address.query).get("d")
    plain = local[0] if local else unquote(address.path) if address.scheme or address.query else name
    absolute = "/" + plain.lstrip("/")  # of an address only the end can be here
    places = (folder, folder / "images", path.parent)
    try:
        return find_image(absolute, folder, places, where)
    except ConfigError as error:
        short = UPLOAD_PREFIX.sub("", PurePosixPath(absolute).name)
        try:
            return find_image(short, folder, places, where)
        except MissingResource:
            raise error from None


def _image_name(data: Any) -> str | None:
    """The value of `image`, else the first that ends as image files do."""
    if not isinstance(data, dict):
        return None
    named = sorted(data.items(), key=lambda item: item[0] != "image")
    texts = [value for _, value in named if isinstance(value, str)]
    return next((text for text in texts if is_image(Path(text))), None)

"""Pictures with drawn annotations, whatever tool wrote them: their shapes become mask files, or one line each.

A shape that can't be drawn is never passed over: its picture would count as good.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from pycocotools import mask as coco_mask

from f2pnet.errors import ConfigError, F2pError, MissingResource
from training.data.examples import SWAPPING, UPRIGHT, orientation_of, read_frame, turned
from training.data.records import ImageFile
from training.layouts.entry import GOOD, Entry

SHOWN = 10
MOST_CLASSES = 254
FAR = 4
"""Points this many image sides away from the image are no slip of the hand."""

Drawn = NDArray[np.bool_]
Draw = Callable[[int, int], Drawn]
"""(height, width) of the picture -> the pixels of a shape (H, W). Raises ValueError where there are none."""


@dataclass(frozen=True)
class Shape:
    """One annotation. `where` names its file and itself, for messages."""

    class_name: str
    where: str
    draw: Draw


@dataclass(frozen=True)
class Labelled:
    """A picture with its shapes. `stated` is (width, height) as the annotations have it, where they do."""

    identity: str
    image: Path
    shapes: Sequence[Shape]
    where: str
    split: str | None = None
    part_id: str | None = None
    stated: tuple[int, int] | None = None


@dataclass
class Problems:
    """Collects what is wrong, so that all of it is reported at once."""

    found: list[F2pError] = field(default_factory=list)

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Keeps an error of the block instead of raising it."""
        try:
            yield
        except F2pError as error:
            self.found.append(error)

    def add(self, where: str, what: str) -> None:
        self.found.append(ConfigError(f"{where}: {what}"))

    def check(self) -> None:
        """Raises what was collected."""
        if not self.found:
            return
        if len(self.found) == 1:
            raise self.found[0]
        rest = len(self.found) - SHOWN
        lines = [str(error) for error in self.found[:SHOWN]] + ([f"... and {rest} more"] if rest > 0 else [])
        kind = MissingResource if all(isinstance(error, MissingResource) for error in self.found) else ConfigError
        raise kind(f"{len(self.found)} annotations can't be used:\n  " + "\n  ".join(lines))


def drawn(pictures: Sequence[Labelled], masks: Path) -> Iterator[Entry]:
    """The entries of the pictures, with their masks drawn into `masks` as PNG. Raises with all problems at once."""
    problems = Problems()
    for name, count in Counter(picture.identity for picture in pictures).items():
        if count > 1:
            where = next(picture.where for picture in pictures if picture.identity == name)
            problems.add(where, f"image {name} stands {count} times in the annotations: wanted once")
    for picture in pictures:
        for shape in picture.shapes:
            if shape.class_name.strip().lower() in ("", GOOD):
                problems.add(shape.where, f"class is '{shape.class_name}', wanted the name of a kind of defect")
    problems.check()
    names = sorted({_plain(shape.class_name) for picture in pictures for shape in picture.shapes})
    if len(names) > MOST_CLASSES:
        raise ConfigError(f"{pictures[0].where}: {len(names)} classes, wanted at most {MOST_CLASSES}")
    numbers = {name: number for number, name in enumerate(names, start=1)}
    entries = []
    for picture in pictures:
        with problems.collected():
            entries.append(_entry(picture, numbers, masks, problems))
    problems.check()
    yield from entries


def _entry(picture: Labelled, numbers: dict[str, int], masks: Path, problems: Problems) -> Entry:
    if not picture.shapes:
        return Entry(picture.identity, picture.image, None, GOOD, picture.split, picture.part_id)
    (width, height), orientation = canvas_of(picture)
    classes = np.zeros((height, width), np.uint8)
    for shape in picture.shapes:
        try:
            pixels = shape.draw(height, width)
            if not pixels.any():
                raise ValueError("covers no pixel of its image")
        except ValueError as error:
            problems.add(shape.where, str(error))
        else:
            classes[pixels] = numbers[_plain(shape.class_name)]
    classes = turned(classes, orientation)
    present = sorted({_plain(shape.class_name) for shape in picture.shapes})
    binary = np.where(classes > 0, 255, 0).astype(np.uint8)
    return Entry(
        picture.identity,
        picture.image,
        write_mask(masks / "binary" / f"{picture.identity}.png", binary),
        "+".join(present),
        picture.split,
        picture.part_id,
        class_mask=write_mask(masks / "classes" / f"{picture.identity}.png", classes),
    )


def canvas_of(picture: Labelled) -> tuple[tuple[int, int], int]:
    """(width, height) that the shapes are drawn on, and the EXIF orientation to turn the drawing by.

    Annotations belong to the image as it is shown; where they state the sides of the image as it is stored, to that.
    """
    shown, orientation = size_of(picture.image)
    if picture.stated in (None, shown):
        return shown, UPRIGHT
    if orientation in SWAPPING and picture.stated == shown[::-1]:
        return shown[::-1], orientation
    assert picture.stated is not None  # noqa: S101 - for mypy: it is not in (None, ...)
    raise ConfigError(
        f"{picture.where}: states {picture.stated[0]}x{picture.stated[1]}, and {picture.image} is {shown[0]}x{shown[1]}"
    )


def size_of(image: Path) -> tuple[tuple[int, int], int]:
    """(width, height) of an image file as it is shown, and its EXIF orientation."""
    orientation = orientation_of(image)
    try:
        with Image.open(image) as file:
            width, height = file.size
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        height, width = read_frame(ImageFile(image)).shape[:2]
        return (width, height), orientation
    return ((height, width) if orientation in SWAPPING else (width, height)), orientation


def polygon(points: Any) -> Draw:
    """Pixels inside of an outline [(x, y), ...] in pixels, counted as COCO counts them."""

    def draw(height: int, width: int) -> Drawn:
        outline = _outline(points, height, width)
        packed = coco_mask.frPyObjects([outline.ravel().tolist()], height, width)
        return np.asarray(coco_mask.decode(coco_mask.merge(packed)), bool)

    return draw


def scaled_polygon(points: Any, whole: float) -> Draw:
    """An outline whose sides of the image are `whole` (1, or 100 for percent)."""

    def draw(height: int, width: int) -> Drawn:
        return polygon(_points(points) * (np.array([width, height]) / whole))(height, width)

    return draw


def ellipse(centre: tuple[float, float], radii: tuple[float, float], degrees: float = 0.0) -> Draw:
    """Pixels whose centre lies in an ellipse, in pixels; `degrees` turns it clockwise."""

    def draw(height: int, width: int) -> Drawn:
        if not np.isfinite([*centre, *radii, degrees]).all() or min(radii) <= 0:
            raise ValueError(f"ellipse with radii {radii}, wanted two numbers above 0")
        y, x = np.mgrid[:height, :width] + 0.5
        angle = np.deg2rad(degrees)
        along = (x - centre[0]) * np.cos(angle) + (y - centre[1]) * np.sin(angle)
        across = (y - centre[1]) * np.cos(angle) - (x - centre[0]) * np.sin(angle)
        return np.asarray((along / radii[0]) ** 2 + (across / radii[1]) ** 2 <= 1)

    return draw


def runs(counts: Sequence[int], size: tuple[int, int], *, by_column: bool) -> Drawn:
    """Pixels (H, W) of run lengths, background first. Raises ValueError where they don't fill `size` (H, W)."""
    height, width = size
    if any(not isinstance(count, int) or count < 0 for count in counts) or sum(counts) != height * width:
        raise ValueError(f"run lengths don't add up to {width}x{height} pixels")
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return flat.reshape(width, height).T if by_column else flat.reshape(height, width)


def pasted(part: Drawn, left: int, top: int) -> Draw:
    """A part of the picture whose first pixel is at (left, top)."""

    def draw(height: int, width: int) -> Drawn:
        if left < 0 or top < 0 or top + part.shape[0] > height or left + part.shape[1] > width:
            raise ValueError(f"mask of {part.shape[1]}x{part.shape[0]} at ({left}, {top}) reaches out of its image")
        whole = np.zeros((height, width), bool)
        whole[top : top + part.shape[0], left : left + part.shape[1]] = part
        return whole

    return draw


def refused(what: str) -> Draw:
    """A shape that is no outline of a defect; drawing it says so."""

    def draw(height: int, width: int) -> Drawn:
        raise ValueError(what)

    return draw


NO_BOX = "is only a box: F2P-Net learns from outlines; label polygons or masks"


def write_mask(path: Path, picture: NDArray[np.uint8]) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        written = cv2.imwrite(str(path), picture)
    except (OSError, cv2.error) as error:
        raise ConfigError(f"{path}: the mask can't be written ({error})") from error
    if not written:
        raise ConfigError(f"{path}: the mask can't be written; check the disk and its permissions")
    return path


def _points(points: Any) -> NDArray[np.float64]:
    try:
        pairs = np.asarray(points, float)
    except (TypeError, ValueError) as error:
        raise ValueError("outline holds something else than numbers") from error
    if pairs.ndim != 2 or pairs.shape[1] != 2 or len(pairs) < 3:
        count = len(pairs) if pairs.ndim == 2 and pairs.shape[1:] == (2,) else 0
        raise ValueError(f"outline of {count} points, wanted three or more, as x and y")
    if not np.isfinite(pairs).all():
        raise ValueError("outline holds a number that is not finite")
    return pairs


def _outline(points: Any, height: int, width: int) -> NDArray[np.float64]:
    pairs = _points(points)
    low, high = pairs.min(axis=0), pairs.max(axis=0)
    if (low >= (width, height)).any() or (high <= 0).any():
        raise ValueError(f"outline lies outside of its image of {width}x{height}")
    if (low < (-FAR * width, -FAR * height)).any() or (high > (FAR * width, FAR * height)).any():
        raise ValueError(f"outline reaches far out of its image of {width}x{height}: is it labelled in other units?")
    return pairs


def _plain(class_name: str) -> str:
    """'+' joins the classes of a picture, so it can't be part of a name."""
    return class_name.strip().replace("+", "_")

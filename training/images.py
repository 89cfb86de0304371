"""Images and masks of a data set in memory, at the network's size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from f2pnet.errors import ConfigError
from f2pnet.preprocess import Resize, covered, fit
from training.recipe import MaskRule
from training.records import SHOWN_PROBLEMS, Record

Pixels = NDArray[np.uint8]

# Masks whose largest value is at most this hold class indices, not grey (specification, D10).
LARGEST_CLASS_INDEX = 31
# A pixel of the shrunk mask is defect where at least a third of it is: half would erase hairline scratches.
COVERED = 85


@dataclass(frozen=True)
class ImageSet:
    """Images (S, S, 1 or 3; RGB) and masks (S, S; 0 or 1), uint8, with the records they come from.

    Grey pictures are kept with one channel, which saves two thirds of the memory. `filled` is the part of the square
    (rows, columns) that each image fills: all of it, or less in a letterbox. `classes` holds class masks
    (S, S; 0 none, 1 .. C), in runs that train a class map.
    """

    records: list[Record]
    images: list[Pixels]
    masks: list[Pixels]
    filled: list[tuple[int, int]]
    classes: list[Pixels] | None = None

    def __len__(self) -> int:
        return len(self.records)


def load_images(
    records: Sequence[Record],
    size: int,
    classes: Sequence[str] = (),
    rule: MaskRule = "foreground",
    resize: Resize = "stretch",
) -> ImageSet:
    """Read all records at `size` x `size`; raises ConfigError with all unreadable or contradictory ones at once.

    With the names of `classes`, their class masks too. Masks are read by `rule`, see `foreground`.
    """
    images, masks, filled, class_masks, problems = [], [], [], [], []
    for record in records:
        try:
            image, mask = read_pair(record, rule)
            if classes:
                own = read_class_mask(record, mask, classes)
                class_masks.append(fit_classes(own, size, resize))
        except ConfigError as error:
            problems.append(str(error))
            continue
        images.append(fit_image(image, size, resize))
        masks.append(fit_mask(mask, size, resize))
        filled.append(covered(mask.shape, size, resize))
    if problems:
        shown = "\n  ".join(problems[:SHOWN_PROBLEMS])
        raise ConfigError(f"{len(problems)} of {len(records)} images can't be used:\n  {shown}")
    return ImageSet(list(records), images, masks, filled, class_masks if classes else None)


def read_pair(record: Record, rule: MaskRule = "foreground") -> tuple[Pixels, Pixels]:
    """One image, (H, W) grey or (H, W, 3) BGR, and its mask (H, W; 0 or 1), as they lie on disk."""
    image = cv2.imread(str(record.image), cv2.IMREAD_UNCHANGED)
    if image is None or image.dtype != np.uint8:
        raise ConfigError(f"{record.image}: wanted a readable 8-bit image")
    frame = np.ascontiguousarray(image if image.ndim == 2 else image[:, :, :3], np.uint8)
    if record.mask is None:
        return frame, np.zeros(frame.shape[:2], np.uint8)
    grey = cv2.imread(str(record.mask), cv2.IMREAD_UNCHANGED)
    if grey is None or grey.shape != frame.shape[:2]:
        seen = "unreadable" if grey is None else f"{grey.shape}"
        raise ConfigError(f"{record.mask}: mask is {seen}, wanted one channel of the image's size {frame.shape[:2]}")
    mask = foreground(np.asarray(grey, np.uint8), rule)
    if record.label == 1 and not mask.any():
        raise ConfigError(f"{record.mask}: empty mask, and '{record.id}' is labelled defective")
    return frame, mask


def read_class_mask(record: Record, mask: Pixels, classes: Sequence[str]) -> Pixels:
    """Which of `classes` each pixel of the mask (H, W; 0 or 1) has: 0 none, n + 1 for `classes[n]`.

    A class mask on disk counts the sorted names from 1, as `training.records.class_names` gives them; without one the
    whole mask has the record's class. Raises ConfigError where neither fits.
    """
    if record.class_mask is None:
        if record.label and record.class_name not in classes:
            raise ConfigError(f"'{record.id}' has class '{record.class_name}', wanted one of: {', '.join(classes)}")
        return mask * np.uint8(1 + classes.index(record.class_name) if record.label else 0)
    indices = cv2.imread(str(record.class_mask), cv2.IMREAD_UNCHANGED)
    if indices is None or indices.shape != mask.shape or indices.max(initial=0) > len(classes):
        seen = "unreadable" if indices is None else f"{indices.shape} with values up to {indices.max(initial=0)}"
        raise ConfigError(f"{record.class_mask}: class mask is {seen}, wanted {mask.shape} and at most {len(classes)}")
    return np.asarray(indices, np.uint8)


def foreground(mask: Pixels, rule: MaskRule = "foreground") -> Pixels:
    """0 or 1 by the mask rule: every class index above 0 counts; grey counts from 128.

    The rule `reference` repeats the published code's (D10): scaled to a largest value of 255, a pixel counts above
    254. Of class indices that leaves the largest alone.
    """
    if rule == "reference":
        return (mask * (255 / max(int(mask.max(initial=0)), 1)) > 254).astype(np.uint8)
    is_index = mask.max(initial=0) <= LARGEST_CLASS_INDEX
    return ((mask > 0) if is_index else (mask >= 128)).astype(np.uint8)


def fit_image(frame: Pixels, size: int, resize: Resize = "stretch") -> Pixels:
    """Bring a picture to the network's size as a line does: (size, size, 3) RGB, or one channel where all are equal."""
    pixels = fit(frame, size, resize=resize)
    red, green, blue = pixels[:, :, 0], pixels[:, :, 1], pixels[:, :, 2]
    is_grey = np.array_equal(red, green) and np.array_equal(green, blue)
    return np.ascontiguousarray(pixels[:, :, :1]) if is_grey else pixels


def fit_mask(mask: Pixels, size: int, resize: Resize = "stretch") -> Pixels:
    """Bring a mask of 0 and 1 to `size` x `size`; the filling of a letterbox is 0."""
    rows, columns = covered(mask.shape, size, resize)
    shrinks = mask.shape[0] > rows and mask.shape[1] > columns
    share = cv2.resize(mask * 255, (columns, rows), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return _in_square((share >= (COVERED if shrinks else 128)).astype(np.uint8), size)


def fit_classes(classes: Pixels, size: int, resize: Resize = "stretch") -> Pixels:
    """Bring a class mask to `size` x `size`, as `fit_mask` does."""
    rows, columns = covered(classes.shape, size, resize)
    return _in_square(np.asarray(cv2.resize(classes, (columns, rows), interpolation=cv2.INTER_NEAREST), np.uint8), size)


def _in_square(mask: Pixels, size: int) -> Pixels:
    square = np.zeros((size, size), np.uint8)
    square[: mask.shape[0], : mask.shape[1]] = mask
    return square

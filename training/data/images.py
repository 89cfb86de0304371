"""Images and masks of a data set in memory, at the network's size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from f2pnet.errors import ConfigError
from f2pnet.pictures.preprocess import Resize, covered, fit
from training.data.examples import MaskForms, fitted_mask, read_example
from training.data.masks import IGNORE, Mask, mask_values
from training.data.masks import Pixels as Pixels
from training.data.records import SHOWN_PROBLEMS, Record
from training.recipe import MaskRule

# A pixel of the shrunk mask is defect where at least a third of it is: half would erase hairline scratches.
COVERED = 85


@dataclass(frozen=True)
class ImageSet:
    """Images (S, S, 1 or 3; RGB) and masks (S, S; 0 or 1), uint8, with the records they come from.

    Grey pictures are kept with one channel, which saves two thirds of the memory. `filled` is the part of the square
    (rows, columns) that each image fills: all of it, or less in a letterbox. `classes` holds class masks
    (S, S; 0 none, 1 .. C), in runs that train a class map. `ignored` holds, for images that have any, the pixels
    (S, S; 0 or 1) that count neither as defect nor as background.
    """

    records: list[Record]
    images: list[Pixels]
    masks: list[Pixels]
    filled: list[tuple[int, int]]
    classes: list[Pixels] | None = None
    ignored: list[Pixels | None] | None = None

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

    With the names of `classes`, their class masks too. Masks are read by `rule`, see `training.data.masks`.
    """
    images, masks, filled, class_masks, ignored, problems = [], [], [], [], [], []
    forms = MaskForms()
    for record in records:
        try:
            example = read_example(record, rule)
            forms.add(record, example)
            if classes:
                own = read_class_mask(record, example.mask, classes)
                class_masks.append(fit_classes(own, size, resize))
        except ConfigError as error:
            problems.append(str(error))
            continue
        images.append(fit_image(example.image, size, resize))
        masks.append(fit_mask(example.mask, size, resize))
        filled.append(covered(example.mask.shape, size, resize))
        ignored.append(None if example.ignored is None else fit_ignored(example.ignored, masks[-1], resize))
    if problems:
        shown = "\n  ".join(problems[:SHOWN_PROBLEMS])
        raise ConfigError(f"{len(problems)} of {len(records)} images can't be used:\n  {shown}")
    forms.check()
    return ImageSet(
        list(records),
        images,
        masks,
        filled,
        class_masks if classes else None,
        ignored if any(each is not None for each in ignored) else None,
    )


def read_pair(record: Record) -> tuple[Pixels, Pixels]:
    """One image, (H, W) grey or (H, W, 3) BGR, and its mask (H, W; 0 or 1), at the size of the image."""
    example = read_example(record)
    return example.image, example.mask


def read_class_mask(record: Record, mask: Pixels, classes: Sequence[str]) -> Pixels:
    """Which of `classes` each pixel of the mask (H, W; 0 or 1) has: 0 none, n + 1 for `classes[n]`.

    A class mask on disk counts the sorted names from 1, as `class_names` (records.py) gives them; without one the
    whole mask has the record's class. Raises ConfigError where neither fits.
    """
    if record.class_mask is None:
        if record.label and record.class_name not in classes:
            raise ConfigError(f"'{record.id}' has class '{record.class_name}', wanted one of: {', '.join(classes)}")
        return mask * np.uint8(1 + classes.index(record.class_name) if record.label else 0)
    values, void = mask_values(record.class_mask)
    indices = np.where(values == IGNORE if void is None else void, 0, values).astype(np.uint8)
    placed = fitted_mask(record.class_mask, Mask(indices, None, "indices"), record.image, mask.shape).defect
    if placed.max(initial=0) > len(classes):
        raise ConfigError(
            f"{record.class_mask}: class mask holds values up to {placed.max(initial=0)}, wanted at most {len(classes)}"
        )
    return np.asarray(placed, np.uint8)


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


def fit_ignored(ignored: Pixels, mask: Pixels, resize: Resize = "stretch") -> Pixels:
    """Bring ignored pixels to the size of a fitted mask (S, S), all that they touch; defect stays defect."""
    size = mask.shape[0]
    rows, columns = covered(ignored.shape, size, resize)
    touched = cv2.resize(ignored * 255, (columns, rows), interpolation=cv2.INTER_AREA) > 0
    return np.asarray(_in_square(touched.astype(np.uint8), size) & (mask == 0), np.uint8)


def _in_square(mask: Pixels, size: int) -> Pixels:
    square = np.zeros((size, size), np.uint8)
    square[: mask.shape[0], : mask.shape[1]] = mask
    return square

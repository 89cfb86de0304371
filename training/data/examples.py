"""One labelled image as it lies on disk: its pixels and its mask, brought to one orientation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from f2pnet.errors import ConfigError
from f2pnet.pictures.decode import read_picture
from f2pnet.pictures.header import UnreadablePicture
from training.data.masks import Mask, Pixels, UnusableMask, read_mask
from training.data.records import ImageFile, Record
from training.recipe import MaskRule

UPRIGHT = 1
SWAPPING = (5, 6, 7, 8)
"""EXIF orientations that exchange width and height."""
ORIENTATION_TAG = 0x0112

EMPTY = "defective, and its mask is empty"
MARKED = "good, and its mask is not empty"


class UnusableImage(ConfigError):
    """An image that training can't use. `kind` names the fault without the file."""

    kind = "image is missing, damaged, or not one picture of a kind that is read"

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {self.kind}: {reason}")
        self.reason = reason


@dataclass(frozen=True)
class Example:
    """`image` (H, W) grey or (H, W, 3) BGR; `mask` (H, W; 0 or 1); `ignored` (H, W; 0 or 1) or None."""

    image: Pixels
    mask: Pixels
    ignored: Pixels | None
    form: str | None  # how the mask file was read; None without a file


def read_example(record: Record, rule: MaskRule = "foreground") -> Example:
    """Read one record. Raises UnusableImage or UnusableMask for what no training, test or check accepts."""
    frame = read_frame(record.file)
    if record.mask is None:
        return Example(frame, np.zeros(frame.shape[:2], np.uint8), None, None)
    mask = fitted_mask(record.mask, read_mask(record.mask, rule), record.image, frame.shape[:2])
    if record.label == 1 and not mask.defect.any():
        raise UnusableMask(record.mask, EMPTY, message=f"empty mask, and '{record.id}' is labelled defective")
    if record.label == 0 and mask.defect.any():
        raise UnusableMask(record.mask, MARKED, message=f"mask that is not empty, and '{record.id}' is labelled good")
    return Example(frame, mask.defect, mask.ignored, mask.form)


def read_frame(image: ImageFile) -> Pixels:
    """The pixels of an image file, upright, as the line and `f2p inspect` read them."""
    try:
        return read_picture(image.path, bit_depth=image.bit_depth)
    except UnreadablePicture as error:
        raise UnusableImage(image.path, str(error)) from error


def orientation_of(path: Path) -> int:
    """The EXIF orientation, 1 to 8; 1 (upright) where the file states none."""
    try:
        with Image.open(path) as file:
            stated = file.getexif().get(ORIENTATION_TAG, UPRIGHT)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return UPRIGHT  # the reader of its pixels says what is wrong with it
    return stated if stated in range(1, 9) else UPRIGHT


def turned(pixels: Pixels, orientation: int) -> Pixels:
    """Stored pixels (H, W) or (H, W, C), as an EXIF orientation says to show them."""
    if orientation in SWAPPING:
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def fitted_mask(path: Path, mask: Mask, image: Path, shape: tuple[int, ...]) -> Mask:
    """The mask in the orientation of its image, which is upright and of `shape` (H, W).

    Where the image carries an EXIF orientation and the mask none, the sides say whether the mask was drawn on the
    image as shown or as stored. Where they can't say, it is refused, as a mask of another size is.
    """
    orientation = UPRIGHT if orientation_of(path) != UPRIGHT else orientation_of(image)
    own = mask.defect.shape
    if own == shape and orientation == UPRIGHT:
        return mask
    can_say = orientation in SWAPPING and shape[0] != shape[1]
    if own == shape and can_say:
        return mask
    if own == shape:
        raise UnusableMask(
            path,
            "mask of an image with an EXIF orientation",
            f": {image} is shown turned or mirrored (orientation {orientation}), and nothing says whether the mask "
            "is too; save the image upright without the tag",
        )
    if can_say and own == shape[::-1]:
        ignored = None if mask.ignored is None else turned(mask.ignored, orientation)
        return Mask(turned(mask.defect, orientation), ignored, mask.form)
    raise UnusableMask(
        path,
        "mask of another size than its image",
        f": {own[1]}x{own[0]} (shape {own}), wanted {shape[1]}x{shape[0]} as {image}",
    )


class MaskForms:
    """Whether the masks of a data set agree on what 255 means."""

    def __init__(self) -> None:
        self._with_ignored: Path | None = None
        self._binary: Path | None = None

    def add(self, record: Record, example: Example) -> None:
        if example.ignored is not None and example.form == "indices":
            self._with_ignored = self._with_ignored or record.mask
        elif example.form == "binary" and example.mask.any():
            self._binary = self._binary or record.mask

    def check(self) -> None:
        """Raises UnusableMask, with one mask of each kind."""
        if self._with_ignored and self._binary:
            raise UnusableMask(
                self._binary,
                "masks of two kinds in one data set",
                f": it holds 0 and 255 for a defect, and {self._with_ignored} class indices with 255 for 'ignore'; "
                "save all in one way",
            )

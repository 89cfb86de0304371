"""From a camera's picture to what the network is fed."""

from __future__ import annotations

from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from f2pnet.errors import ConfigError

Image = NDArray[np.uint8]
Array = NDArray[Any]

Resize = Literal["stretch", "letterbox"]
"""How an image becomes square: stretched; or with its aspect ratio kept, at the top left of a square of one colour."""

FILL_RGB = (124, 116, 104)
"""What a letterbox is filled with: the mean that the network subtracts, so that the filling is zero inside it."""
LETTERBOX_STEP_PX = 4
"""The short side is rounded to this, so that the image ends between two pixels of a map at a quarter of the size."""


def as_frame(image: Image) -> Image:
    """Check that `image` is (H, W, 3) BGR or (H, W) grey, uint8; returns it contiguous. Raises ConfigError."""
    if not isinstance(image, np.ndarray):
        raise ConfigError(
            f"the image is {type(image).__name__}; wanted a NumPy array (cv2.imread gives None for an unreadable file)"
        )
    image = image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image
    fits = image.dtype == np.uint8 and (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3))
    if not fits or 0 in image.shape:
        raise ConfigError(f"the image is {image.shape} {image.dtype}; wanted (H, W, 3) BGR or (H, W) grey, uint8")
    return np.ascontiguousarray(image)


def fit(image: Image, size: int, out: Image | None = None, resize: Resize = "stretch") -> Image:
    """Resize a BGR or grey image to (size, size, 3) RGB, into `out` where given.

    Bilinear with half-pixel centres, as in the reference; where both sides shrink, areas are averaged instead, since
    bilinear sampling would step over thin scratches. A letterbox is filled with `FILL_RGB` beside the image.
    """
    rows, columns = covered(image.shape, size, resize)
    order = cv2.COLOR_GRAY2RGB if image.ndim == 2 else cv2.COLOR_BGR2RGB
    pixels = _resized(image, rows, columns)
    if (rows, columns) == (size, size):
        return np.asarray(cv2.cvtColor(pixels, order, dst=out), np.uint8)
    square = np.empty((size, size, 3), np.uint8) if out is None else out
    square[:] = FILL_RGB
    square[:rows, :columns] = cv2.cvtColor(pixels, order)
    return square


def covered(shape: tuple[int, ...], size: int, resize: Resize) -> tuple[int, int]:
    """Rows and columns of the network's square that an image (height, width, ...) fills, from the top left."""
    if resize == "stretch":
        return size, size
    height, width = shape[:2]
    scale = size / max(height, width)
    rows, columns = (
        min(size, max(LETTERBOX_STEP_PX, round(side * scale / LETTERBOX_STEP_PX) * LETTERBOX_STEP_PX))
        for side in (height, width)
    )
    return (size, columns) if height >= width else (rows, size)


def uncovered(values: Array, shape: tuple[int, ...], size: int, resize: Resize) -> Array:
    """The part of a map (..., h, w) over the network's square that belongs to an image of (height, width, ...)."""
    rows, columns = covered(shape, size, resize)
    map_rows, map_columns = values.shape[-2:]
    return values[..., : max(1, round(rows * map_rows / size)), : max(1, round(columns * map_columns / size))]


def _resized(image: Image, rows: int, columns: int) -> Image:
    height, width = image.shape[:2]
    if (height, width) == (rows, columns):
        return image
    interpolation = cv2.INTER_AREA if height > rows and width > columns else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (columns, rows), interpolation=interpolation), np.uint8)

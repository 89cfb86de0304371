"""From a camera's picture to what the network is fed."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from f2pnet.errors import ConfigError

Image = NDArray[np.uint8]


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


def fit(image: Image, size: int, out: Image | None = None) -> Image:
    """Stretch a BGR or grey image to (size, size, 3) RGB, into `out` where given.

    Bilinear with half-pixel centres, as in the reference; where both sides shrink, areas are averaged instead, since
    bilinear sampling would step over thin scratches.
    """
    height, width = image.shape[:2]
    shrinks = height > size and width > size
    if (height, width) != (size, size):
        interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        image = np.asarray(cv2.resize(image, (size, size), interpolation=interpolation), np.uint8)
    order = cv2.COLOR_GRAY2RGB if image.ndim == 2 else cv2.COLOR_BGR2RGB
    return np.asarray(cv2.cvtColor(image, order, dst=out), np.uint8)

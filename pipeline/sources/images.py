"""From the bytes of an image file to the pixels the line works with."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".jp2", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"})


class UnreadableImage(ValueError):
    """The bytes are not a whole picture of a kind that can be inspected; the message says what is wrong."""


def decode_image(data: bytes) -> npt.NDArray[np.uint8]:
    """Pixels as uint8, (H, W) grey or (H, W, 3) BGR, C-contiguous.

    16 bits become 8 by their upper half, the same for every picture, so that brightness stays comparable;
    transparency is left out. Raises UnreadableImage; a file that was cut off counts as unreadable, since decoders fill
    what is missing with grey.
    """
    if not data:
        raise UnreadableImage("the file is empty")
    if _cut_off(data):
        raise UnreadableImage(f"the file ends too early, after {len(data)} bytes")
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise UnreadableImage(f"the decoder refuses it: {error.err}") from error
    if pixels is None:
        raise UnreadableImage("not an image, or damaged")
    return _as_grey_or_bgr(_as_bytes(np.asarray(pixels)))


def _as_bytes(pixels: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    if pixels.dtype == np.uint8:
        return np.asarray(pixels, np.uint8)
    if pixels.dtype == np.uint16:
        return (np.asarray(pixels, np.uint16) >> 8).astype(np.uint8)
    raise UnreadableImage(f"pixels are {pixels.dtype}; wanted 8 or 16 bits without sign")


def _as_grey_or_bgr(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    if pixels.ndim == 3:
        pixels = pixels[:, :, :3] if pixels.shape[2] >= 3 else pixels[:, :, 0]
    return np.ascontiguousarray(pixels)


def _cut_off(data: bytes) -> bool:
    """Whether a JPEG or PNG lacks its end. (In a JPEG's picture data neither marker can occur by chance.)"""
    if data.startswith(b"\xff\xd8\xff"):
        return data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")
    return data.startswith(b"\x89PNG\r\n") and b"IEND" not in data[-4096:]

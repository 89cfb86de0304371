"""Writing pictures: a format that can hold the size, and an error where a picture could not be written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2

from f2pnet.errors import F2pError
from f2pnet.pictures.preprocess import Image
from f2pnet.text import printable

LARGEST_SIDE_PX = {".jpg": 65_500, ".jpeg": 65_500, ".webp": 16_383}
"""What the format (or, of JPEG's 65,535, its library libjpeg) can hold. PNG holds more than any camera gives."""
LOSSLESS = ".png"


class PictureNotWritten(F2pError):
    """The encoder or the disk refused a picture."""


def encode_picture(image: Image, suffix: str, quality: int | None = None) -> tuple[bytes, str]:
    """`image`, uint8 (H, W) or (H, W, 3) BGR, in the format of `suffix`; as PNG where that can't hold its size.

    Returns the file's bytes and its suffix. `quality`: 1 to 100, of JPEG and WebP. Raises PictureNotWritten.
    """
    suffix = fitting_suffix(image, suffix)
    try:
        done, data = cv2.imencode(suffix, image, _options(suffix, quality))
    except cv2.error as error:
        raise PictureNotWritten(f"a picture of shape {image.shape} can't be encoded as {suffix}: {error.err}") from None
    if not done:
        raise PictureNotWritten(f"a picture of shape {image.shape} can't be encoded as {suffix}")
    return data.tobytes(), suffix


def write_picture(path: Path, image: Image, quality: int | None = None) -> Path:
    """Write `image` to `path`, or beside it with the suffix .png where its format can't hold the size.

    Returns the path written. Raises PictureNotWritten.
    """
    data, suffix = encode_picture(image, path.suffix.lower(), quality)
    written = path if suffix == path.suffix.lower() else path.with_suffix(suffix)
    try:
        written.parent.mkdir(parents=True, exist_ok=True)
        written.write_bytes(data)
    except OSError as error:
        raise PictureNotWritten(
            f"picture {printable(written)} can't be written: {error.strerror}; check the disk's space and rights"
        ) from error
    return written


def fitting_suffix(image: Image, suffix: str) -> str:
    """`suffix`, or `.png` where its format can't hold the picture's size."""
    return LOSSLESS if max(image.shape[:2]) > LARGEST_SIDE_PX.get(suffix, max(image.shape[:2])) else suffix


def _options(suffix: str, quality: int | None) -> list[Any]:
    if quality is None:
        return []
    return {
        ".jpg": [cv2.IMWRITE_JPEG_QUALITY, quality],
        ".jpeg": [cv2.IMWRITE_JPEG_QUALITY, quality],
        ".webp": [cv2.IMWRITE_WEBP_QUALITY, quality],
    }.get(suffix, [])

"""From the bytes of an image file to the pixels that everything here works with.

Every check that a format offers is made, and two decoders have to agree that the file is whole: each of them passes
over damage that the other one notices.
"""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import ImageFile

from f2pnet.pictures.damage import png_damage, tiff_damage
from f2pnet.pictures.following import is_followed_by_a_picture
from f2pnet.pictures.header import Header, PictureTooLarge, UnreadablePicture, open_image
from f2pnet.pictures.preprocess import Image
from f2pnet.text import printable

MAX_DECODED_BYTES = 2**30
"""Largest picture outside a line, where a camera's `max_frame_mb` sets the limit."""
_SLACK_BYTES = 2**26  # a file may be this much larger than its pixels: comments, profiles, thumbnails
_DEPTH_CURE = "its file does not say whether they fill 10, 12, 14 or 16 bits: say so with bit_depth (folder source, "
_DEPTH_CURE += "`f2p inspect --bit-depth`; of a data set `f2p data index --bit-depth`), or convert it to 8 bits"


def read_picture(path: Path, *, max_bytes: int = MAX_DECODED_BYTES, bit_depth: int | None = None) -> Image:
    """The picture in a file, as `decode_picture` gives it. Raises UnreadablePicture, also where there is no file."""
    return decode_picture(read_bytes(path, max_bytes), max_bytes=max_bytes, bit_depth=bit_depth)


def read_bytes(path: Path, max_bytes: int = MAX_DECODED_BYTES) -> bytes:
    """A file's content. Raises UnreadablePicture, also for one that is far larger than its picture could be."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > 4 * max_bytes + _SLACK_BYTES:
                raise PictureTooLarge(f"the file has {size / 2**20:.0f} MB; wanted a picture of {_mb(max_bytes)}")
            return file.read()
    except OSError as error:
        raise UnreadablePicture(error.strerror or str(error)) from error


def decode_picture(data: bytes, *, max_bytes: int = MAX_DECODED_BYTES, bit_depth: int | None = None) -> Image:
    """uint8, (H, W) grey or (H, W, 3) BGR, C-contiguous, upright by the file's EXIF orientation.

    More than 8 bits lose their lower ones: `value * 256 // (largest value + 1)`, as cameras do, with the largest value
    that the file states, or `bit_depth` where it states none. Transparency is left out. `max_bytes` limits the decoded
    picture; it is compared before anything is decoded.

    Raises PictureTooLarge, or UnreadablePicture for everything that is not one whole picture.
    """
    header, image = _whole(data, max_bytes)
    stored = _jpeg(data) if header.kind == "JPEG" else _decoded(data, header, image)
    max_value = header.max_value if bit_depth is None or header.max_value else 2**bit_depth - 1
    return upright(_as_grey_or_bgr(_in_8_bits(stored, max_value)), header)


def check_whole(path: Path, *, max_bytes: int = MAX_DECODED_BYTES) -> None:
    """Raise UnreadablePicture for a file of more than one picture, or one that is damaged: for masks, whose values are
    read in other ways."""
    data = read_bytes(path, max_bytes)
    header, image = _whole(data, max_bytes)
    if header.kind == "JPEG":
        _jpeg(data)
    else:
        _decoded(data, header, image)


def upright(pixels: NDArray[np.uint8], header: Header) -> NDArray[np.uint8]:
    """`pixels` turned and mirrored as EXIF's orientation says. (Both decoders turn TIFF files themselves.)"""
    if header.kind == "TIFF" or header.orientation not in range(2, 9):
        return pixels
    if header.orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if header.orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if header.orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _whole(data: bytes, max_bytes: int) -> tuple[Header, ImageFile.ImageFile]:
    header, image = open_image(data, max_bytes)
    if header.pages != 1:
        raise UnreadablePicture(f"holds {header.pages} pages or frames; wanted files of one picture: split it")
    has_list = getattr(image, "n_frames", 1) > 1  # of what follows: these are thumbnails
    if not has_list and is_followed_by_a_picture(header.kind, data, image.size, header.max_value):
        raise UnreadablePicture("another picture follows in the same file; wanted files of one picture: split it")
    damage = png_damage(data) if header.kind == "PNG" else tiff_damage(data, image)
    if damage is not None:
        raise UnreadablePicture(damage)
    return header, image


def _jpeg(data: bytes) -> Image:
    """A JPEG; everything that libjpeg-turbo warns of is an error."""
    try:
        _, _, colours, _ = simplejpeg.decode_jpeg_header(data)
        if colours in ("CMYK", "YCCK"):
            simplejpeg.decode_jpeg(data, "CMYK", strict=True)
            return _by_opencv(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        pixels = simplejpeg.decode_jpeg(data, "GRAY" if colours == "Gray" else "BGR", strict=True)
    except ValueError as error:
        raise UnreadablePicture(f"the decoder warns: {printable(error)}") from error
    return np.asarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels, np.uint8)


def _decoded(data: bytes, header: Header, image: ImageFile.ImageFile) -> NDArray[np.uint8]:
    """The stored values, not yet turned (TIFF: turned), after both decoders took the file."""
    try:
        image.load()
    except Exception as error:  # as in `open_image`: damaged data raise whatever the decoder did not think of
        raise UnreadablePicture(f"damaged: {printable(error)}") from error
    return _by_opencv(data, cv2.IMREAD_UNCHANGED)


def _by_opencv(data: bytes, flags: int) -> NDArray[np.uint8]:
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise UnreadablePicture(f"the decoder refuses it: {printable(error.err)}") from error
    if pixels is None:
        raise UnreadablePicture("damaged, or of a kind that is not read")
    return np.asarray(pixels)


def _in_8_bits(pixels: NDArray[np.generic], max_value: int | None) -> Image:
    if pixels.dtype == np.uint8:
        grey = np.asarray(pixels, np.uint8)
        if max_value is None or max_value >= 255:
            return grey
        return (grey.astype(np.uint32) * 255 // max_value).astype(np.uint8)  # a PNM of, say, 100 grey levels
    if pixels.dtype != np.uint16:
        raise UnreadablePicture(f"pixels are {pixels.dtype}; wanted 8 or 16 bits without sign")
    if max_value is None:
        raise UnreadablePicture(f"pixels have 16 bits, and {_DEPTH_CURE}")
    values = np.asarray(pixels, np.uint16)
    if int(values.max(initial=0)) > max_value:
        raise UnreadablePicture(f"a pixel of {values.max()}, and the largest value is said to be {max_value}")
    return (values.astype(np.uint32) * 256 // (max_value + 1)).astype(np.uint8)


def _as_grey_or_bgr(pixels: Image) -> Image:
    if pixels.ndim == 3:
        pixels = pixels[:, :, :3] if pixels.shape[2] >= 3 else pixels[:, :, 0]
    return np.ascontiguousarray(pixels)


def _mb(count_bytes: int) -> str:
    return f"{count_bytes / 2**20:.0f} MB"

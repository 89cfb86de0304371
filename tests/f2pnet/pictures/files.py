"""Image files of every format and form, written by Pillow, which the product reads them with only in part."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

Pixels = npt.NDArray[np.uint8]

_RNG = np.random.default_rng(5)
COLOUR: Pixels = cv2.GaussianBlur(_RNG.integers(0, 255, (48, 64, 3), dtype=np.uint8), (0, 0), 2)  # RGB
GREY: Pixels = np.ascontiguousarray(COLOUR[:, :, 0])


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The image as a file of Pillow's `kind`."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def shown(data: bytes) -> Pixels:
    """What a viewer shows: RGB, upright."""
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


def exif(orientation: int) -> Image.Exif:
    """EXIF data that state an orientation, 1 to 8."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def whole_files() -> dict[str, bytes]:
    """A whole file of one picture in every format, by file name."""
    colour, grey = Image.fromarray(COLOUR), Image.fromarray(GREY)
    files = {
        "a.png": encoded(colour, "PNG"),
        "palette.png": encoded(colour.quantize(16), "PNG"),
        "alpha.png": encoded(colour.convert("RGBA"), "PNG"),
        "black-and-white.png": encoded(grey.convert("1"), "PNG"),
        "a.apng": encoded(grey, "PNG"),
        "a.jpg": encoded(colour, "JPEG", quality=92),
        "grey.jpeg": encoded(grey, "JPEG"),
        "progressive.jpe": encoded(colour, "JPEG", progressive=True),
        "a.jfif": encoded(colour, "JPEG"),
        "a.bmp": encoded(colour, "BMP"),
        "a.dib": encoded(grey, "BMP"),
        "a.gif": encoded(grey, "GIF"),
        "a.webp": encoded(colour, "WEBP", lossless=True),
        "lossy.webp": encoded(colour, "WEBP", quality=90),
        "a.ppm": encoded(colour, "PPM"),
        "a.pgm": encoded(grey, "PPM"),
        "a.pbm": encoded(grey.convert("1"), "PPM"),
        "a.jp2": encoded(colour, "JPEG2000"),
        "raw.tif": encoded(colour, "TIFF"),
    }
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        files[f"{compression}.tiff"] = encoded(colour, "TIFF", compression=compression)
    for orientation in range(1, 9):
        files[f"turned-{orientation}.jpg"] = encoded(colour, "JPEG", quality=95, exif=exif(orientation))
        files[f"turned-{orientation}.png"] = encoded(colour, "PNG", exif=exif(orientation))
        files[f"turned-{orientation}.webp"] = encoded(colour, "WEBP", lossless=True, exif=exif(orientation))
        files[f"turned-{orientation}.tif"] = encoded(colour, "TIFF", tiffinfo={0x0112: orientation})
    return files


def files_of_several_pictures() -> dict[str, bytes]:
    """Files of more than one picture, by file name."""
    first, second = Image.fromarray(COLOUR), Image.fromarray(COLOUR[::-1])
    several: dict[str, Any] = {"save_all": True, "append_images": [second]}
    return {
        "stack.tif": encoded(first, "TIFF", **several),
        "moving.gif": encoded(first, "GIF", **several),
        "moving.webp": encoded(first, "WEBP", **several),
        "moving.png": encoded(first, "PNG", **several),
        "pair.jpg": encoded(first, "MPO", **several),
        **{
            f"copied-together.{suffix}": encoded(first, kind) + between + encoded(second, kind)
            for suffix, kind, between in (("jpg", "JPEG", b""), ("jpeg", "JPEG", b"\r\n"), ("png", "PNG", b"\0" * 9))
        },
        "copied-together.ppm": encoded(first, "PPM") * 2,
        "copied-together.pgm": b"P5\n# grey\n2 2\n1000\n" + bytes(8) + b"P5\n2 2\n1000\n" + bytes(8),
        "copied-together.pbm": encoded(first.convert("1"), "PPM") * 2,
    }


def damaged_files() -> dict[str, bytes]:
    """Files of which something is missing or changed, in the ways in which formats let it be noticed."""
    whole = whole_files()
    damaged = {f"cut-{name}": data[: int(len(data) * 0.8)] for name, data in whole.items() if "turned" not in name}
    with_checksum = (
        "a.png",
        "a.jpg",
        "progressive.jpe",
        "tiff_lzw.tiff",
        "tiff_adobe_deflate.tiff",
        "packbits.tiff",
        "jpeg.tiff",
    )
    for name in with_checksum:
        damaged[f"hole-{name}"] = with_hole(whole[name])
    strip = whole["jpeg.tiff"]
    damaged["hole-jpeg.tiff"] = strip[: len(strip) // 4] + bytes(60) + strip[len(strip) // 4 + 60 :]
    damaged["flipped-a.png"] = _changed(whole["a.png"], len(whole["a.png"]) // 2)
    damaged["flipped-deflate.tif"] = _changed(whole["tiff_adobe_deflate.tiff"], 300)
    damaged["bad-text-chunk.png"] = _png_with_bad_chunk(whole["a.png"])
    damaged["no-end.png"] = whole["a.png"][:-12]
    damaged["no-picture.png"] = b"hello"
    damaged["empty.png"] = b""
    return damaged


def with_hole(data: bytes) -> bytes:
    """The file with zeros in its middle, as a copy leaves it that broke and went on."""
    start, end = len(data) // 2, len(data) // 2 + len(data) // 5
    return data[:start] + bytes(end - start) + data[end:]


def bomb(width: int = 30_000, height: int = 30_000) -> bytes:
    """A PNG of a few bytes that says it is 900 megapixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(64))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png_with_bad_chunk(data: bytes) -> bytes:
    text = bytearray(_chunk(b"tEXt", b"Comment\0part 7"))
    text[-1] ^= 1
    return data[:33] + bytes(text) + data[33:]


def _changed(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]


Maker = Callable[[], bytes]

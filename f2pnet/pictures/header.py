"""What an image file says about itself, read before anything is decoded."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from f2pnet.errors import F2pError
from f2pnet.text import printable

Opener = Callable[[io.BytesIO], ImageFile.ImageFile]

# The plugins are called directly: `Image.open` would apply Pillow's own, process-wide size limit.
_FORMATS: tuple[tuple[bytes, str, Opener], ...] = (
    (b"\x89PNG\r\n\x1a\n", "PNG", PngImagePlugin.PngImageFile),
    (b"\xff\xd8\xff", "JPEG", JpegImagePlugin.jpeg_factory),
    (b"II*\x00", "TIFF", TiffImagePlugin.TiffImageFile),
    (b"MM\x00*", "TIFF", TiffImagePlugin.TiffImageFile),
    (b"II+\x00", "TIFF", TiffImagePlugin.TiffImageFile),
    (b"MM\x00+", "TIFF", TiffImagePlugin.TiffImageFile),
    (b"BM", "BMP", BmpImagePlugin.BmpImageFile),
    (b"GIF8", "GIF", GifImagePlugin.GifImageFile),
    (b"RIFF", "WebP", WebPImagePlugin.WebPImageFile),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000", Jpeg2KImagePlugin.Jpeg2KImageFile),
    (b"\xff\x4f\xff\x51", "JPEG 2000", Jpeg2KImagePlugin.Jpeg2KImageFile),
    *((f"P{kind}".encode(), "PNM", PpmImagePlugin.PpmImageFile) for kind in range(1, 7)),
)
_ORIENTATION, _NEW_SUBFILE, _MAX_SAMPLE, _BITS_PER_SAMPLE = 0x0112, 254, 281, 258
_REDUCED_RESOLUTION = 1
_PNG_BIT_DEPTH_AT = 24
_SIZ, _SIZ_DEPTH_AT = b"\xff\x51", 40  # JPEG 2000's marker of sizes, and where it has the depth of the first component
_MP_ENTRIES, _MP_THUMBNAIL = 0xB002, "Large Thumbnail"
_GREY_MODES = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "F")


class UnreadablePicture(F2pError):
    """The bytes are not one whole picture of a kind that can be inspected; the message says what is wrong."""


class PictureTooLarge(UnreadablePicture):
    """The picture would take more memory than it may."""


@dataclass(frozen=True)
class Header:
    """What an image file says about itself.

    `pages`: pictures in the file. `orientation`: EXIF's 1 to 8. `max_value`: the largest value that a sample can have,
    where the file says so; None: it does not.
    """

    kind: str
    pages: int
    orientation: int
    max_value: int | None


def open_image(data: bytes, max_bytes: int) -> tuple[Header, ImageFile.ImageFile]:
    """The header, and Pillow's reader. The size is compared with `max_bytes` before anything is decoded.

    Raises PictureTooLarge or UnreadablePicture.
    """
    kind, opener = _format(data)
    try:
        image = opener(io.BytesIO(data))
        _check_size(image, max_bytes)
        header = Header(
            kind=kind,
            pages=_pages(image),
            orientation=int(image.getexif().get(_ORIENTATION, 1)),  # of a PNG it stands behind the pixels
            max_value=_max_value(kind, image, data),
        )
        image.seek(0)
    except PictureTooLarge:
        raise
    except Exception as error:  # a file made to hurt raises whatever the parser did not think of
        raise UnreadablePicture(f"damaged {kind} file: {printable(error)}") from error
    return header, image


def _check_size(image: ImageFile.ImageFile, max_bytes: int) -> None:
    """Raise PictureTooLarge where the picture as 8-bit grey or BGR takes more than `max_bytes`."""
    (width, height), channels = image.size, 1 if image.mode in _GREY_MODES else 3
    decoded_bytes = width * height * channels
    if decoded_bytes > max_bytes:
        size = f"{width}x{height} takes {decoded_bytes / 2**20:.0f} MB"
        raise PictureTooLarge(
            f"a picture of {size}; allowed are {max_bytes / 2**20:.0f} MB: on a line, raise max_frame_mb"
        )


def _format(data: bytes) -> tuple[str, Opener]:
    if not data:
        raise UnreadablePicture("the file is empty")
    for magic, kind, opener in _FORMATS:
        if data.startswith(magic):
            return kind, opener
    known = ", ".join(dict.fromkeys(kind for _, kind, _ in _FORMATS))
    raise UnreadablePicture(f"not an image: it starts with {data[:8].hex(' ')}; wanted {known}")


def _pages(image: ImageFile.ImageFile) -> int:
    """How many pictures the file holds; thumbnails of one of them are none."""
    count = int(getattr(image, "n_frames", 1))
    if count == 1:
        return 1
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        reduced = 0
        for page in range(count):
            image.seek(page)
            reduced += bool(image.tag_v2.get(_NEW_SUBFILE, 0) & _REDUCED_RESOLUTION)
        return max(1, count - reduced)
    entries = (getattr(image, "mpinfo", None) or {}).get(_MP_ENTRIES, ())
    thumbnails = [entry for entry in entries if str(entry["Attribute"]["MPType"]).startswith(_MP_THUMBNAIL)]
    return count - len(thumbnails)


def _max_value(kind: str, image: ImageFile.ImageFile, data: bytes) -> int | None:
    """The largest value of a sample, where a file of more than 8 bits states it; PNM files always do."""
    if kind == "PNM":
        return _pnm_max_value(data)
    if kind == "PNG":  # whoever writes sBIT scales samples to the full depth, as the specification asks
        is_deep = data[_PNG_BIT_DEPTH_AT] == 16
        return 0xFFFF if is_deep and b"sBIT" in data[:4096] else None
    if kind == "TIFF" and isinstance(image, TiffImagePlugin.TiffImageFile):
        bits = max(image.tag_v2.get(_BITS_PER_SAMPLE, (1,)))
        stated = image.tag_v2.get(_MAX_SAMPLE)
        if bits <= 8:
            return None
        if stated:
            return int(max(stated) if isinstance(stated, tuple) else stated)
        return int(2**bits - 1) if bits < 16 else None
    if kind == "JPEG 2000":
        bits = (data[data.index(_SIZ) + _SIZ_DEPTH_AT] & 0x7F) + 1
        return int(2**bits - 1) if bits > 8 else None
    return None


def _pnm_max_value(data: bytes) -> int:
    """The third number of the header; comments run from # to the end of the line. A bitmap is decoded as 0 and 255."""
    if data[1:2] in b"14":
        return 255
    lines = [line.split(b"#")[0] for line in data[:4096].split(b"\n")]
    return int(b" ".join(lines).split()[3])

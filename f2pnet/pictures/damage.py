"""Damage in image files that decoders pass over: checksums that nobody compares, data that ends early."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import simplejpeg
from PIL import ImageFile, TiffImagePlugin

from f2pnet.text import printable

_PNG_SIGNATURE_BYTES = 8
_WIDTH, _HEIGHT, _BITS_PER_SAMPLE, _COMPRESSION, _ROWS_PER_STRIP, _PLANES = 256, 257, 258, 259, 278, 284
_STRIPS, _TILES = (273, 279), (324, 325)  # tags of offsets and byte counts
_DEFLATE, _PACKBITS, _JPEG = (8, 32946), 32773, 7
_JPEG_TABLES = 347


def png_damage(data: bytes) -> str | None:
    """What is wrong with the chunks of a PNG file; None: each has its checksum, and the last one is there."""
    at = _PNG_SIGNATURE_BYTES
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        kind, end = data[at + 4 : at + 8], at + 12 + length
        if end > len(data):
            break
        if zlib.crc32(memoryview(data)[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            return f"the checksum of chunk {kind!r} at byte {at} is wrong"
        if kind == b"IEND":
            return None
        at = end
    return f"the file ends too early, after {len(data)} bytes"


def tiff_damage(data: bytes, image: ImageFile.ImageFile) -> str | None:
    """What is wrong with the strips or tiles of a TIFF file, in the compressions where libtiff goes on all the same.

    It never looks at the checksum of deflated data, cuts or fills PackBits data to fit, and keeps warnings of the JPEG
    decoder to itself.
    """
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return None
    compression = image.tag_v2.get(_COMPRESSION)
    if compression not in (*_DEFLATE, _PACKBITS, _JPEG):
        return None
    tables = bytes(image.tag_v2.get(_JPEG_TABLES, b""))
    for number, piece in enumerate(_pieces(data, image)):
        if compression == _JPEG:
            problem = _jpeg_damage(piece[0], tables)
        else:
            problem = _packbits_damage(piece) if compression == _PACKBITS else _deflate_damage(piece, image)
        if problem is not None:
            return f"strip or tile {number} {problem}"
    return None


def _pieces(data: bytes, image: TiffImagePlugin.TiffImageFile) -> Iterator[tuple[bytes, int | None]]:
    """Each strip or tile, and how many bytes it should decode to, where that is known."""
    tags = image.tag_v2
    offsets = tags.get(_STRIPS[0]) or tags.get(_TILES[0]) or ()
    counts = tags.get(_STRIPS[1]) or tags.get(_TILES[1]) or ()
    height, rows = tags.get(_HEIGHT, 0), min(tags.get(_ROWS_PER_STRIP, 2**32), tags.get(_HEIGHT, 0))
    row_bytes = -(-tags.get(_WIDTH, 0) * sum(tags.get(_BITS_PER_SAMPLE, (1,))) // 8)
    is_plain = _STRIPS[0] in tags and tags.get(_PLANES, 1) == 1
    for number, (offset, count) in enumerate(zip(offsets, counts, strict=False)):
        wanted = row_bytes * min(rows, height - number * rows) if is_plain else None
        yield data[offset : offset + count], wanted


def _deflate_damage(piece: tuple[bytes, int | None], image: ImageFile.ImageFile) -> str | None:
    packed, _ = piece
    inflate = zlib.decompressobj()
    try:
        inflate.decompress(packed, 8 * image.size[0] * image.size[1] + 2**20)
    except zlib.error as error:
        return f"is damaged: {error}"
    return None if inflate.eof else "ends too early"


def _jpeg_damage(piece: bytes, tables: bytes) -> str | None:
    """A piece is a JPEG without its tables, which stand once in the file (TIFF Technical Note 2)."""
    try:
        simplejpeg.decode_jpeg(tables[:-2] + piece[2:] if tables else piece, "GRAY", strict=True)
    except ValueError as error:
        return f"is damaged: {printable(error)}"
    return None


def _packbits_damage(piece: tuple[bytes, int | None]) -> str | None:
    """PackBits (TIFF 6.0, section 9): a byte n below 128 precedes n + 1 bytes, one above 128 repeats the next byte."""
    packed, wanted = piece
    at = length = 0
    while at < len(packed):
        control = packed[at]
        at += control + 2 if control < 128 else 1 if control == 128 else 2
        length += control + 1 if control < 128 else 0 if control == 128 else 257 - control
    if at > len(packed):
        return "ends too early"
    return f"decodes to {length} bytes, wanted {wanted}" if wanted not in (None, length) else None

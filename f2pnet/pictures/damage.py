"""Damage in image files that decoders pass over: checksums that nobody compares, data that ends early."""

from __future__ import annotations

import zlib

from PIL import ImageFile, TiffImagePlugin

_PNG_SIGNATURE_BYTES = 8
_COMPRESSION, _DEFLATE = 259, (8, 32946)
_DATA_TAGS = ((273, 279), (324, 325))  # (offsets, byte counts) of strips, of tiles


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
    """What is wrong with the deflated strips or tiles of a TIFF file: libtiff never looks at their checksums."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile) or image.tag_v2.get(_COMPRESSION) not in _DEFLATE:
        return None
    limit = 8 * image.size[0] * image.size[1] + 2**20
    for offsets_tag, counts_tag in _DATA_TAGS:
        pieces = zip(image.tag_v2.get(offsets_tag, ()), image.tag_v2.get(counts_tag, ()), strict=False)
        for number, (offset, count) in enumerate(pieces):
            inflate = zlib.decompressobj()
            try:
                inflate.decompress(data[offset : offset + count], limit)
            except zlib.error as error:
                return f"strip or tile {number} is damaged: {error}"
            if not inflate.eof:
                return f"strip or tile {number} ends too early"
    return None

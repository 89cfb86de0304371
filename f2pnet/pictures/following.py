"""Whether a second picture stands behind the first in one file, which decoders pass over.

Such files come from copying pictures together. What follows and is no picture (padding, a video, a maker's notes) is
left alone.
"""

from __future__ import annotations

_JPEG, _PNG, _PNM = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6")
_MARKERS_ALONE = (0x01, *range(0xD0, 0xD9))  # TEM, RST0 to RST7, SOI: no length follows
_EOI = 0xD9


def is_followed_by_a_picture(kind: str, data: bytes, size: tuple[int, int], max_value: int | None) -> bool:
    """Whether the file's first picture ends where another of its kind begins, white space and zeros between them.

    `kind` and `max_value`: as in `Header`. `size`: (width, height), px.
    """
    if kind == "JPEG":
        return data.rfind(_JPEG) > 0 and _begins(data, _end_of_jpeg(data), (_JPEG,))
    if kind == "PNG":
        return data.rfind(_PNG) > 0 and _begins(data, _end_of_png(data), (_PNG,))
    if kind == "PNM" and data[1:2] in b"456":
        width, height = size
        row_bytes = {b"4": -(-width // 8), b"5": width, b"6": 3 * width}[data[1:2]] * (1 + ((max_value or 0) > 255))
        return _begins(data, _start_of_pixels(data) + row_bytes * height, _PNM)
    return False


def _begins(data: bytes, at: int | None, signatures: tuple[bytes, ...]) -> bool:
    return at is not None and data[at:].lstrip(b"\x00\r\n\t ").startswith(signatures)


def _end_of_jpeg(data: bytes) -> int | None:
    """Behind the first EOI that is a marker of the picture itself and not of a thumbnail within it."""
    at = 2
    while 0 <= (at := data.find(b"\xff", at)) < len(data) - 1:
        marker = data[at + 1]
        if marker == _EOI:
            return at + 2
        if marker in (0x00, 0xFF) or marker in _MARKERS_ALONE:
            at += 1 if marker == 0xFF else 2  # a stuffed byte, a fill byte
            continue
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")  # a segment; behind SOS come entropy-coded data
    return None


def _end_of_png(data: bytes) -> int | None:
    at = len(_PNG)
    while at + 12 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        at += 12 + length
        if kind == b"IEND":
            return at
    return None


def _start_of_pixels(data: bytes) -> int:
    """Behind the header of a binary PNM file: two or three numbers, comments from # to the end of the line."""
    at, wanted = 2, 2 if data[1:2] == b"4" else 3
    for _ in range(wanted):
        while data[at : at + 1].isspace() or data[at : at + 1] == b"#":
            at = data.find(b"\n", at) + 1 if data[at : at + 1] == b"#" else at + 1
        while data[at : at + 1].isdigit():
            at += 1
    return at + 1

"""Cuts a stream of JPEG files apart, by the markers in them (ITU-T T.81, annex B), whatever stands between."""

from __future__ import annotations

import re
from collections.abc import Iterator

MOST_BETWEEN_BYTES = 2**20
TORN = "the JPEG breaks off"
_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
_FIRST = b"\xff\xd8\xff"
_AFTER_HEADERS = re.compile(rb"\n\r?\n\xff\xd8\xff")  # where a part begins: a preview in a torn file does not look so
_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")  # in picture data: any but stuffed zeros and restarts
_BOUNDARY = re.compile(rb"(?:^|\n)--[^\r\n]+\r?\n")


class JpegParts:
    """Takes bytes as they come, gives JPEG files, or (str) what is wrong with one."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._data = bytearray()
        self._at = 0  # of the JPEG at the start of `_data`: how far it has been looked at
        self._in_jpeg = self._in_scan = self._is_torn = False

    @property
    def in_jpeg(self) -> bool:
        """Whether the last bytes belong to a JPEG."""
        return self._in_jpeg

    def feed(self, data: bytes) -> Iterator[bytes | str]:
        """Everything that `data` completes. Raises ValueError when no JPEG comes for `MOST_BETWEEN_BYTES`."""
        self._data += data
        while (item := self._next()) is not None:
            yield from item

    def end(self) -> Iterator[str]:
        """What is left at the end of the stream."""
        if self._in_jpeg:
            yield TORN

    def _next(self) -> list[bytes | str] | None:
        """What comes next, maybe nothing; None when more bytes are needed."""
        if not self._in_jpeg:
            return self._find_start()
        if len(self._data) > self._max_bytes:
            return [self._give_up(f"a JPEG of more than {self._max_bytes / 2**20:.0f} MB")]
        return self._scan() if self._in_scan else self._segment()

    def _find_start(self) -> list[bytes | str] | None:
        if self._is_torn:
            found = _AFTER_HEADERS.search(self._data)
            start = -1 if found is None else found.end() - len(_FIRST)
        else:
            start = self._data.find(_FIRST)
        if start < 0:
            if len(self._data) > MOST_BETWEEN_BYTES:
                raise ValueError(f"sends no JPEG: none in {MOST_BETWEEN_BYTES / 2**20:.0f} MB")
            return None
        between = bytes(self._data[:start])
        del self._data[:start]
        self._at, self._in_jpeg, self._in_scan, self._is_torn = 2, True, False, False
        return ["a part that says it is an image holds no JPEG"] * _parts_without_jpeg(between)

    def _segment(self) -> list[bytes | str] | None:
        """Step over one segment of the header."""
        data, at = self._data, self._at
        while at + 1 < len(data) and data[at] == data[at + 1] == 0xFF:
            at += 1  # fill bytes
        if at + 2 > len(data):
            return None
        marker = data[at + 1]
        if data[at] != 0xFF or marker in (0x00, _SOI):
            return [self._give_up(TORN)]
        if marker == _EOI:
            return [self._take(at + 2)]
        if marker in _WITHOUT_LENGTH:
            self._at = at + 2
            return []
        if at + 4 > len(data):
            return None
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if end > len(data):
            return None
        self._at, self._in_scan = end, marker == _SOS
        return []

    def _scan(self) -> list[bytes | str] | None:
        """Step over picture data, up to the next marker."""
        found = _MARKER.search(self._data, self._at)
        if found is None:
            self._at = max(self._at, len(self._data) - 1)
            return None
        marker = self._data[found.end() - 1]
        if marker == _EOI:
            return [self._take(found.end())]
        if marker == _SOI:
            del self._data[: found.end() - 2]
            self._at, self._in_scan = 2, False
            return [TORN]
        self._at, self._in_scan = found.start(), False
        return []

    def _take(self, end: int) -> bytes:
        jpeg = bytes(self._data[:end])
        del self._data[:end]
        self._in_jpeg = False
        return jpeg

    def _give_up(self, why: str) -> str:
        """Look for the next part, behind the first bytes of this JPEG."""
        del self._data[:2]
        self._in_jpeg, self._is_torn = False, True
        return why


def _parts_without_jpeg(between: bytes) -> int:
    """How many parts before the last one call themselves an image: text between pictures is no lost picture."""
    return sum(b"image/" in part.lower() for part in _BOUNDARY.split(between)[:-1])

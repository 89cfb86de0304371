"""How records lie in a spool file, and finding them again in a file that was damaged.

    record = b"F2PR" | length (uint32, little endian) | CRC-32 of length and payload | payload (a Record as msgpack)

The CRC distinguishes a whole record from a torn or changed one; the mark in front lets reading go on behind a damaged place.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from pipeline.store.records import Record

MARK = b"F2PR"
_LENGTH = struct.Struct("<I")
_HEADER = struct.Struct("<4sII")

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Record)


@dataclass(frozen=True)
class Extent:
    """Bytes `start` to `end` of a file: one record, or bytes that are not a record (not `whole`)."""

    start: int
    end: int
    whole: bool


def encode(record: Record) -> bytes:
    """One record as it lies in the file."""
    payload = _encoder.encode(record)
    return _HEADER.pack(MARK, len(payload), _crc(payload)) + payload


def decode(data: bytes) -> Record:
    """Read `encode` back. Raises msgspec.ValidationError when the payload is no Record of ours."""
    return _decoder.decode(memoryview(data)[_HEADER.size :])


def extents(data: bytes, start: int = 0) -> Iterator[Extent]:
    """Every record from `start` on, in order, and every damaged stretch between and behind them."""
    while start < len(data):
        end = _end_of_record(data, start)
        whole = end is not None
        if end is None:
            end = _next_record(data, start + 1)
        yield Extent(start, end, whole)
        start = end


def _end_of_record(data: bytes, start: int) -> int | None:
    """Where the whole record that begins at `start` ends; None when none does."""
    if len(data) - start < _HEADER.size:
        return None
    mark, length, crc = _HEADER.unpack_from(data, start)
    end = start + _HEADER.size + int(length)
    if mark != MARK or end > len(data) or _crc(memoryview(data)[start + _HEADER.size : end]) != crc:
        return None
    return end


def _next_record(data: bytes, start: int) -> int:
    """Where the next whole record begins; the end of the data when there is none."""
    while (found := data.find(MARK, start)) >= 0:
        if _end_of_record(data, found) is not None:
            return found
        start = found + 1
    return len(data)


def _crc(payload: bytes | memoryview) -> int:
    return zlib.crc32(payload, zlib.crc32(_LENGTH.pack(len(payload))))

"""How far a spool was replayed: the segment and offset of the oldest record that still waits.

Written whole or not at all, and checked when read. A cursor that is lost costs only a replay of what the store knows.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import structlog

_log = structlog.get_logger(__name__)

_CURSOR = struct.Struct("<QQI")  # segment, offset, CRC-32 of both


def read_cursor(folder: Path) -> tuple[int, int]:
    """Segment and offset; (0, 0), the very beginning, when there is none or it is damaged. Raises OSError."""
    path = folder / "cursor"
    try:
        segment, offset, crc = _CURSOR.unpack(path.read_bytes())
    except FileNotFoundError:
        return 0, 0
    except struct.error:
        segment, offset, crc = 0, 0, -1
    if crc != _crc(segment, offset):
        _log.warning("spool cursor unreadable: replaying from the oldest record", file=str(path))
        return 0, 0
    return int(segment), int(offset)


def write_cursor(folder: Path, segment: int, offset: int) -> None:
    """Replace the cursor, durably. Raises OSError."""
    temporary = folder / "cursor.new"
    with temporary.open("wb") as file:
        file.write(_CURSOR.pack(segment, offset, _crc(segment, offset)))
        file.flush()
        os.fdatasync(file.fileno())
    temporary.replace(folder / "cursor")


def _crc(segment: int, offset: int) -> int:
    return zlib.crc32(_CURSOR.pack(segment, offset, 0))

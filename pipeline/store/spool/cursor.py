"""How far a spool was replayed: the segment and offset of the oldest record that still waits.

Written whole or not at all, and checked when read. A cursor that is lost costs only a replay of what the store knows.
"""

from __future__ import annotations

import errno
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


def reserve_cursor(folder: Path) -> None:
    """See to it that there is a cursor to overwrite when the disk is full. Raises OSError."""
    if not (folder / "cursor").exists():
        write_cursor(folder, 0, 0)


def write_cursor(folder: Path, segment: int, offset: int) -> None:
    """Replace the cursor, durably. Raises OSError.

    On a full disk it is overwritten in place, which takes no room: replaying must go on, since it is what frees the
    disk (`reserve_cursor` sees to it that there is one). A crash within leaves a cursor that its checksum refuses.
    """
    content = _CURSOR.pack(segment, offset, _crc(segment, offset))
    temporary = folder / "cursor.new"
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fdatasync(file.fileno())
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        if not (folder / "cursor").exists():
            raise
        _overwrite(folder / "cursor", content)
        temporary.unlink(missing_ok=True)
        return
    temporary.replace(folder / "cursor")


def _overwrite(path: Path, content: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(file, content, 0)
        os.fdatasync(file)
    finally:
        os.close(file)


def _crc(segment: int, offset: int) -> int:
    return zlib.crc32(_CURSOR.pack(segment, offset, 0))

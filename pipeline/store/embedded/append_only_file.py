"""Cut an unfinished transaction off the end of Redis' append-only file before the server reads it.

A server that is killed, or loses its power, while it writes a transaction leaves MULTI and some of its commands without
EXEC. Redis leaves such a transaction out when it loads the file, but where the cut goes through a command it removes
that command only: MULTI stays in the file, the next transaction is written behind it, and at the start after that the
server runs the remains of both together. Entries are doubled then, and trimming takes old ones away. Redis 6.2 and 7.0
do this, Valkey 9.1.2 does not (valkey-io/valkey pull request 4342); docs/adr/0012 has the measurement.

Nothing that was acknowledged is cut: with `appendfsync always` a transaction is answered when the file holds all of it.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import structlog

MULTI, EXEC = b"MULTI", b"EXEC"
_WHOLE_EXEC = b"*1\r\n$4\r\nEXEC\r\n"
_LONGEST_NUMBER = 24  # characters of a length and its line end
_log = structlog.get_logger(__name__)


class _NotACommand(ValueError):
    """The bytes at this place are not the start of a command."""


def mend_append_only_files(data_dir: Path) -> int:
    """Mend the files of a server that does not run; returns how many bytes were cut off.

    Redis 6 keeps `appendonly.aof`, later ones a folder of files, of which only the newest can be unfinished.
    """
    return sum(_mend(file) for file in (data_dir / "appendonly.aof", *data_dir.glob("appendonlydir/*.aof")))


def _mend(path: Path) -> int:
    size = path.stat().st_size if path.is_file() else 0
    if size == 0:
        return 0
    with path.open("r+b") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            intact = intact_bytes(data)
        if intact < size:
            file.truncate(intact)
            os.fsync(file.fileno())
            _log.warning("unfinished transaction cut off", file=str(path), bytes=size - intact)
    return size - intact


def intact_bytes(data: bytes | mmap.mmap) -> int:
    """Length of the part that ends behind a whole command outside of any transaction.

    Only what follows the last EXEC is looked at, so a large file costs no more than a small one. A file that can't be
    understood is left as it is: the server will say what is wrong with it.
    """
    last_exec = data.rfind(_WHOLE_EXEC)
    starts = [last_exec + len(_WHOLE_EXEC), 0] if last_exec >= 0 else [0]  # 0: those bytes stood inside of a value
    for start in starts:
        try:
            return _intact_from(data, start)
        except _NotACommand:
            continue
    return len(data)


def _intact_from(data: bytes | mmap.mmap, start: int) -> int:
    offset, intact, in_transaction = start, start, False
    while (command := _command_at(data, offset)) is not None:
        offset, name = command
        in_transaction = name == MULTI or (in_transaction and name != EXEC)
        if not in_transaction:
            intact = offset
    return intact


def _command_at(data: bytes | mmap.mmap, offset: int) -> tuple[int, bytes] | None:
    """Where the command that begins at `offset` ends, and its name; None when the file ends before it does."""
    if offset >= len(data):
        return None
    count, offset = _number_at(data, offset, b"*")
    name = b""
    for position in range(count):
        if offset < 0:
            return None
        length, offset = _number_at(data, offset, b"$")
        if offset < 0 or offset + length + 2 > len(data):
            return None
        if position == 0:
            name = bytes(data[offset : offset + length]).upper()
        offset += length + 2
    return (offset, name) if offset >= 0 else None


def _number_at(data: bytes | mmap.mmap, offset: int, sign: bytes) -> tuple[int, int]:
    """The number behind `sign`, and where the next line begins; -1 there when the file ends before."""
    if offset >= len(data):
        return 0, -1
    end = data.find(b"\r\n", offset, offset + _LONGEST_NUMBER)
    text = bytes(data[offset : offset + _LONGEST_NUMBER if end < 0 else end])
    if text[:1] != sign or not (text[1:].isdigit() or end < 0):
        raise _NotACommand(f"found {text!r} at byte {offset}")
    return (0, -1) if end < 0 else (int(text[1:]), end + 2)

"""Verdicts on disk while the store is away: append at the end, replay from the front, bounded, safe against power cuts.

A folder of numbered segment files and a cursor. A batch is on the disk when `append` returns. Files that were replayed
are deleted. What a power cut or a bad disk did to a file is found by checksum, skipped, logged and reported by
`take_damages`. A lost cursor costs only a replay of records that the store knows already.

Files may also be deleted by people and cleaners while they are open, and would then take in records that nobody finds
again. So a file counts only while its name leads to it: what is gone is reported, and made anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import msgspec
import structlog

from f2pnet.errors import SpoolError
from pipeline.store.records import Record
from pipeline.store.spool.cursor import read_cursor, reserve_cursor, write_cursor
from pipeline.store.spool.format import Extent, decode, encode, extents

_log = structlog.get_logger(__name__)

SEGMENT_BYTES = 8 * 1024 * 1024
SEGMENTS_AT_LEAST = 8  # of a small spool, so that space comes free while it is replayed
DAMAGES_KEPT = 64
LOCK_FILE = "spool.lock"
_SEGMENT_NAME = re.compile(r"[0-9]{10,18}\.spool")


class SpoolFull(SpoolError):
    """The batch does not fit into the bound; nothing of it was written."""


@dataclass(frozen=True)
class Damage:
    """A stretch of a spool file that holds no readable record.

    `unfinished`: the file ends there, which is what an interrupted `append` leaves, and nothing in it was ever
    acknowledged. Otherwise acknowledged records were lost.
    """

    file: Path
    offset: int
    length: int
    unfinished: bool


@dataclass(frozen=True)
class Removal:
    """The spool's folder or files of it were deleted while they were in use, and with them acknowledged records."""

    path: Path
    """The folder, or one of the files."""
    records: int
    """How many records waited there, and are lost."""


@dataclass
class _Segment:
    number: int
    path: Path
    inode: tuple[int, int]
    size: int = 0  # bytes that hold records; anything behind is from a failed write
    pending: int = 0


@dataclass
class _Reading:
    """Where replay stands in the oldest segment."""

    segment: _Segment
    entries: deque[Extent] = field(default_factory=deque)
    peeked: list[int] = field(default_factory=list)  # where each record of the last peek ends


class Spool:
    """First in, first out, on disk. One process at a time, which a lock in the folder holds to. For one thread."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """Open or create the spool in `folder`. Raises SpoolError when the folder cannot be used."""
        self.folder = folder
        self.max_bytes = max_bytes
        self._segment_bytes = min(SEGMENT_BYTES, max_bytes // SEGMENTS_AT_LEAST)
        self._segments: deque[_Segment] = deque()
        self._next_number = 1
        self._folder_missing = False
        self._damages: deque[Damage | Removal] = deque(maxlen=DAMAGES_KEPT)
        self._reading: _Reading | None = None
        self._tail = -1  # descriptor of the segment that grows; -1: the next append begins a new one
        with _disk(folder, "open"):
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(folder)
            with contextlib.suppress(OSError):  # a full disk: it may still be read
                reserve_cursor(folder)
            self._cursor = read_cursor(folder)
            self._recover()

    def __len__(self) -> int:
        """Records that wait for replay."""
        return sum(segment.pending for segment in self._segments)

    @property
    def bytes_used(self) -> int:
        """Bytes on disk, at most `max_bytes`."""
        return sum(segment.size for segment in self._segments)

    def append(self, records: Sequence[Record]) -> None:
        """Put the records behind all others, durably: they are on the disk when this returns.

        Raises SpoolFull (the bound) or SpoolError (the disk refuses); then none of them is in the spool.
        """
        self.check_files()
        encoded = [encode(record) for record in records]
        length = sum(map(len, encoded))
        if self.bytes_used + length > self.max_bytes:
            raise SpoolFull(
                f"spool {self.folder} holds {self.bytes_used} bytes and {length} more would pass its bound of "
                f"{self.max_bytes}: bring the store back, or raise publish.spool.max_mb"
            )
        with _disk(self.folder, "append to"):
            segment = self._growing_segment()
            self._write(segment, b"".join(encoded))
        if not _leads_to(segment.path, segment.inode):
            self.check_files()
            raise SpoolError(f"spool file {segment.path} was deleted while it was written; it is written anew")
        start = segment.size
        for record in encoded:
            if self._reading is not None and self._reading.segment is segment:
                self._reading.entries.append(Extent(start, start + len(record), whole=True))
            start += len(record)
        segment.size = start
        segment.pending += len(encoded)

    def peek(self, limit: int) -> list[Record]:
        """The oldest records, at most `limit`; they stay until `commit`. Fewer at the end of a file."""
        self.check_files()
        while self._segments:
            with _disk(self.folder, "read"):
                records = self._peek_oldest_segment(limit)
                if records or not self._drop_if_done():
                    return records
        return []

    def commit(self, count: int) -> None:
        """Take the first `count` records of the last `peek` out of the spool, durably. Raises SpoolError."""
        if count == 0:
            return
        if self._reading is None or count > len(self._reading.peeked):
            raise ValueError(f"commit of {count} records, but the last peek did not show as many")
        if not _leads_to(self._reading.segment.path, self._reading.segment.inode):
            self.check_files()  # nothing is left to take out
            return
        reading = self._reading
        end = reading.peeked[count - 1]
        del reading.peeked[:count]
        while reading.entries and reading.entries[0].end <= end:
            reading.entries.popleft()
        reading.segment.pending = len(reading.entries)
        with _disk(self.folder, "move the cursor of"):
            if not self._drop_if_done():
                self._move_cursor(reading.segment.number, end)

    def check_files(self) -> None:
        """Notice what was deleted from under us, and make the folder anew. Raises SpoolError when that fails.

        A few calls of `stat`: to be made often.
        """
        gone = [segment for segment in self._segments if not _leads_to(segment.path, segment.inode)]
        folder_gone = not _leads_to(self.folder / LOCK_FILE, _inode_of(self._lock))
        if not gone and not folder_gone:
            return
        if gone and gone[-1] is self._segments[-1]:
            self._close_tail()
        for segment in gone:
            self._segments.remove(segment)
            if self._reading is not None and self._reading.segment is segment:
                self._reading = None
        if gone or not self._folder_missing:  # reported once, however long the disk refuses a new one
            lost = sum(segment.pending for segment in gone)
            removal = Removal(self.folder if folder_gone else gone[0].path, lost)
            _log.error("spool deleted while it was in use", path=str(removal.path), lost_records=lost)
            self._damages.append(removal)
        self._folder_missing = folder_gone
        with _disk(self.folder, "make anew"):
            self._make_folder_anew()
        self._folder_missing = False

    def _make_folder_anew(self) -> None:
        """The folder, its lock and its cursor, as far as they are gone."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not _leads_to(self.folder / LOCK_FILE, _inode_of(self._lock)):
            former, self._lock = self._lock, _lock(self.folder)
            os.close(former)
        reserve_cursor(self.folder)

    def take_damages(self) -> list[Damage | Removal]:
        """What was found since the last call (the latest 64): each is worth an alert."""
        damages = list(self._damages)
        self._damages.clear()
        return damages

    def close(self) -> None:
        """Let go of the files. What waits is there again when the spool is opened next."""
        self._close_tail()
        os.close(self._lock)

    def _recover(self) -> None:
        """Find the segments that a former process left, and what is whole in them."""
        for path in segments_in(self.folder):
            facts = path.stat()
            segment = _Segment(int(path.stem), path, (facts.st_dev, facts.st_ino), size=facts.st_size)
            self._next_number = max(self._next_number, segment.number + 1)
            if segment.number < self._cursor[0]:
                path.unlink()  # replayed already, but its deletion did not reach the disk
                continue
            for extent in extents(path.read_bytes(), self._start_of(segment)):
                segment.pending += extent.whole
                if not extent.whole:
                    self._report(segment, extent)
            self._segments.append(segment)
        while self._segments and self._drop_if_done():
            pass

    def _start_of(self, segment: _Segment) -> int:
        """Where the records begin that were not replayed yet."""
        number, offset = self._cursor
        return offset if segment.number == number else 0

    def _peek_oldest_segment(self, limit: int) -> list[Record]:
        segment = self._segments[0]
        if self._reading is None or self._reading.segment is not segment:
            content = _content(segment)
            found = deque(extent for extent in extents(content, self._start_of(segment)) if extent.whole)
            if len(content) < segment.size:  # somebody cut it
                self._report(segment, Extent(len(content), segment.size, whole=False), unfinished=False)
            self._reading = _Reading(segment, found)
        reading = self._reading
        reading.peeked.clear()
        chosen = list(islice(reading.entries, limit))
        data = _content(segment, upto=chosen[-1].end, start=chosen[0].start) if chosen else b""
        records: list[Record] = []
        for extent in chosen:
            record = _decoded(data, extent, base=chosen[0].start)
            if record is None:  # whole by its checksum, but no Record: another version wrote it
                reading.entries.remove(extent)
                self._report(segment, extent)
                continue
            records.append(record)
            reading.peeked.append(extent.end)
        segment.pending = len(reading.entries)
        return records

    def _drop_if_done(self) -> bool:
        """Delete the oldest segment if nothing in it waits any more."""
        segment = self._segments[0]
        if segment.pending:
            return False
        if len(self._segments) == 1:
            self._close_tail()
        self._move_cursor(segment.number + 1, 0)
        segment.path.unlink(missing_ok=True)
        self._segments.popleft()
        self._reading = None
        return True

    def _growing_segment(self) -> _Segment:
        if self._tail >= 0 and os.fstat(self._tail).st_size == self._segments[-1].size < self._segment_bytes:
            return self._segments[-1]
        self._close_tail()
        number = max(self._next_number, self._cursor[0])
        while (path := self.folder / f"{number:010d}.spool").exists():  # somebody else's: it is left alone
            number += 1
        self._tail = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self._next_number = number + 1
        self._segments.append(_Segment(number, path, _inode_of(self._tail)))
        _sync_folder(self.folder)
        return self._segments[-1]

    def _write(self, segment: _Segment, data: bytes) -> None:
        try:
            written = 0
            while written < len(data):
                written += os.write(self._tail, data[written:])
            os.fdatasync(self._tail)
        except OSError:
            # After a failed write or sync nobody knows what is on the disk: cut it off, and never append behind it.
            with contextlib.suppress(OSError):
                os.ftruncate(self._tail, segment.size)
            self._close_tail()
            raise

    def _close_tail(self) -> None:
        if self._tail >= 0:
            os.close(self._tail)
            self._tail = -1

    def _move_cursor(self, segment: int, offset: int) -> None:
        write_cursor(self.folder, segment, offset)
        self._cursor = (segment, offset)

    def _report(self, segment: _Segment, extent: Extent, unfinished: bool | None = None) -> None:
        if unfinished is None:
            unfinished = extent.end == segment.size and not extent.whole
        damage = Damage(segment.path, extent.start, extent.end - extent.start, unfinished)
        log = _log.warning if unfinished else _log.error
        log("spool damaged", file=str(damage.file), offset=damage.offset, bytes=damage.length, unfinished=unfinished)
        self._damages.append(damage)


@contextlib.contextmanager
def _disk(folder: Path, verb: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SpoolError(
            f"cannot {verb} spool {folder}: {error.strerror or error}; check the disk's space and rights"
        ) from error


def waiting_in(folder: Path) -> Iterator[Record]:
    """Every record that waits in the spool at `folder`, oldest first. Only reads, so a worker may be using it.

    Raises SpoolError when the folder cannot be read.
    """
    with _disk(folder, "read"):
        number, offset = read_cursor(folder)
        paths = [path for path in segments_in(folder) if int(path.stem) >= number]
    for path in paths:
        with _disk(folder, "read"):
            try:
                data = path.read_bytes()
            except FileNotFoundError:  # replayed and deleted meanwhile
                continue
        found = (_decoded(data, extent) for extent in extents(data, offset if int(path.stem) == number else 0))
        yield from (record for record in found if record is not None)


def segments_in(folder: Path) -> list[Path]:
    """The spool's own files, in order; whatever else lies there, such as a copy of one, is left alone."""
    ours = (path for path in folder.glob("*.spool") if _SEGMENT_NAME.fullmatch(path.name))
    return sorted((path for path in ours if path.is_file() and not path.is_symlink()), key=lambda path: int(path.stem))


def _leads_to(path: Path, inode: tuple[int, int]) -> bool:
    """Whether a name leads to the file that we have open."""
    try:
        facts = path.stat(follow_symlinks=False)
    except OSError:
        return False
    return (facts.st_dev, facts.st_ino) == inode


def _inode_of(descriptor: int) -> tuple[int, int]:
    facts = os.fstat(descriptor)
    return facts.st_dev, facts.st_ino


def _content(segment: _Segment, upto: int | None = None, start: int = 0) -> bytes:
    with segment.path.open("rb") as file:
        file.seek(start)
        return file.read((segment.size if upto is None else upto) - start)


def _decoded(data: bytes, extent: Extent, base: int = 0) -> Record | None:
    """The record at `extent` of a file, whose bytes from `base` on are in `data`; None when there is none."""
    if not extent.whole:
        return None
    try:
        return decode(data[extent.start - base : extent.end - base])
    except msgspec.DecodeError:
        return None


def _lock(folder: Path) -> int:
    descriptor = os.open(folder / LOCK_FILE, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise SpoolError(
            f"another publish worker uses spool {folder}: stop it, or set another publish.spool.dir"
        ) from None
    return descriptor


def _sync_folder(folder: Path) -> None:
    """Make a new file's name as durable as its content."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""How a frame ring lies in memory: header word, two tables, generations, slots (`pipeline.frames.ring` says why).

Slots are as large as the configuration allows, but take memory only for what frames need: the file is sparse, and the
pages of a frame are reserved before they are written, so that exhausted memory is an error and not a SIGBUS.
Segments are files in /dev/shm: `multiprocessing.shared_memory` removes a segment when any reader ends (Python < 3.13).
"""

from __future__ import annotations

import contextlib
import mmap
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from f2pnet.errors import F2pError
from pipeline.frames.file_ref import FileRef
from pipeline.frames.ledger import DropReason, Ledger, NotInspectedReason
from pipeline.frames.memory_order import check_memory_order

PAGE_BYTES = mmap.ALLOCATIONGRANULARITY
LAYOUT_VERSION = 3
PART_ID_BYTES = 64
SOURCE_BYTES = 32
NAME_BYTES = 255  # what file systems allow for a name
MOST_SLOTS = 2**20
PLACES = 256  # frames that only wait for their NOT_INSPECTED to be durable: seconds of a camera, and a few KB

DROPS = tuple(DropReason)
NOT_INSPECTED = tuple(NotInspectedReason)

HEADER = np.dtype(
    [
        ("magic", "S8"),
        ("layout", "<u8"),
        ("slots", "<u8"),
        ("slot_bytes", "<u8"),
        ("run_id", "S40"),
        ("ring_id", "S16"),  # of this file: no two rings have the same, also within one run
        ("commits", "<u8"),  # number of committed changes; its low bit names the valid table
    ],
    align=True,
)
_HEAD_BYTES = int(HEADER.fields["commits"][1]) if HEADER.fields else 0
"""What comes before the number of changes: it is written once."""
_SLOT = np.dtype(
    [
        ("held", "?"),
        ("reason", "u1"),  # 1 + index into NotInspectedReason once NOT_INSPECTED was decided, else 0
        ("channels", "u1"),  # 0: a frame without pixels
        ("height", "<u4"),
        ("width", "<u4"),
        ("generation", "<u8"),
        ("seq", "<u8"),
        ("captured_at_ns", "<i8"),
        ("captured_mono_ns", "<i8"),
        ("part_id", f"S{PART_ID_BYTES}"),
    ],
    align=True,
)
_FILE = np.dtype([("name", f"S{NAME_BYTES}"), ("frame", "<i8")], align=True)
_NO_FRAME = -1
MAGIC = b"f2pring\x01"


class StaleFrame(F2pError):
    """The slot holds another frame by now, or is being overwritten."""


class RingMissing(F2pError):
    """There is no ring of that name."""


class RingUnreadable(F2pError):
    """A file of that name is there, and it is not a ring that this version can use."""


class FrameTooLarge(F2pError):
    """The frame does not fit into a slot."""


class SharedMemoryFull(F2pError):
    """The shared-memory file system has no room for this frame."""


@dataclass(frozen=True)
class HeldFrame:
    """A frame that waits in the ring for its durable verdict. `captured_mono_ns` is this host's monotonic clock."""

    slot: int  # or the place of a frame without pixels
    generation: int
    seq: int
    captured_at_ns: int
    captured_mono_ns: int
    shape: tuple[int, ...]  # (H, W) or (H, W, 3); () for a frame without pixels
    part_id: str | None = None
    reason: NotInspectedReason | None = None
    file: FileRef | None = None


class RingGeometry(NamedTuple):
    """How large a ring is. Behind its slots the table has `PLACES` places for frames without pixels."""

    slots: int
    slot_bytes: int

    @property
    def places(self) -> range:
        """Rows of the table that have no pixels."""
        return range(self.slots, self.slots + PLACES)


def _table_dtype(slots: int) -> np.dtype[Any]:
    return np.dtype(
        [
            ("captured", "<u8"),
            ("cursor", "<u8"),
            ("source", f"S{SOURCE_BYTES}"),  # what the cursor counts in
            ("last_name", f"S{NAME_BYTES}"),  # file name of the last captured frame, where frames have one
            ("ok", "<u8"),
            ("ng", "<u8"),
            ("dropped", "<u8", (len(DROPS),)),
            ("not_inspected", "<u8", (len(NOT_INSPECTED),)),
            ("slots", _SLOT, (slots + PLACES,)),  # a row for each slot, then the places without pixels
        ],
        align=True,
    )


def whole_pages(count_bytes: int) -> int:
    return -(-count_bytes // PAGE_BYTES) * PAGE_BYTES


class RingMemory:
    """One mapped ring file and the arrays that lie in it.

    `file`: an open descriptor, which this object closes. A writer keeps it to reserve pages; a reader needs none.
    """

    def __init__(self, path: Path, file: int, *, writable: bool) -> None:
        check_memory_order()
        self.path = path
        self.file = file
        try:
            facts = os.fstat(file)
            self._inode = (facts.st_dev, facts.st_ino)
            if facts.st_uid != os.getuid() or facts.st_size < HEADER.itemsize:
                raise RingUnreadable(f"{path} is not a frame ring of ours ({facts.st_size} bytes, user {facts.st_uid})")
            self.memory = mmap.mmap(file, 0, access=mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ)
            self.header = np.ndarray((), HEADER, self.memory)
            self._check_header(facts.st_size)
            self._size_bytes, self._head = facts.st_size, self.memory[:_HEAD_BYTES]
            self.run_id = str(self.header["run_id"].item().decode())
            self.ring_id = str(self.header["ring_id"].item().decode())
        except BaseException:
            self._close_file()
            raise
        self.geometry = RingGeometry(int(self.header["slots"]), int(self.header["slot_bytes"]))
        table = _table_dtype(self.geometry.slots)
        offset = PAGE_BYTES
        self.tables = np.ndarray((2,), table, self.memory, offset)
        offset += whole_pages(2 * table.itemsize)
        self.generations = np.ndarray((self.geometry.slots,), "<u8", self.memory, offset)
        offset += whole_pages(self.geometry.slots * 8)
        # Outside the tables, which are copied at every change: a row is written before its frame is held.
        self._files = np.ndarray((self.geometry.slots + PLACES,), _FILE, self.memory, offset)
        self.pixels_offset = offset + _files_bytes(self.geometry.slots)
        if not writable:
            self._close_file()

    def _check_header(self, size_bytes: int) -> None:
        header = self.header
        if header["magic"] != MAGIC or int(header["layout"]) != LAYOUT_VERSION:
            raise RingUnreadable(f"{self.path} is not a frame ring of layout {LAYOUT_VERSION}")
        geometry = RingGeometry(int(header["slots"]), int(header["slot_bytes"]))
        if geometry.slots > MOST_SLOTS or size_bytes != self.size_bytes(geometry):
            raise RingUnreadable(f"{self.path} is damaged: {size_bytes} bytes for {geometry}")

    @property
    def has_its_name(self) -> bool:
        """False once the file was removed, or replaced by another one."""
        try:
            facts = self.path.stat()
        except OSError:
            return False
        return (facts.st_dev, facts.st_ino) == self._inode

    @property
    def is_intact(self) -> bool:
        """False once somebody cut the file, or wrote over its head. Looking into a file that was cut is a SIGBUS."""
        return self.memory.size() == self._size_bytes and self.memory[:_HEAD_BYTES] == self._head

    def check_intact(self) -> None:
        """Raise RingUnreadable unless it is intact."""
        if not self.is_intact:
            raise RingUnreadable(f"{self.path} was cut or written over by another program: what it held is lost")

    @staticmethod
    def size_bytes(geometry: RingGeometry) -> int:
        table_bytes = whole_pages(2 * _table_dtype(geometry.slots).itemsize)
        small_bytes = table_bytes + whole_pages(geometry.slots * 8) + _files_bytes(geometry.slots)
        return PAGE_BYTES + small_bytes + geometry.slots * geometry.slot_bytes

    def slot_offset(self, slot: int) -> int:
        return self.pixels_offset + slot * self.geometry.slot_bytes

    def pixels(self, slot: int, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
        return np.ndarray(shape, np.uint8, self.memory, self.slot_offset(slot))

    def set_file(self, row: int, file: FileRef | None) -> None:
        """Note which file the frame comes from that is going to be held in `row`."""
        frame = _NO_FRAME if file is None or file.frame is None else file.frame
        self._files[row] = (os.fsencode(file.name)[:NAME_BYTES] if file else b"", frame)

    def file_of(self, row: int) -> FileRef | None:
        """Which file the frame in `row` comes from."""
        name, frame = os.fsdecode(self._files[row]["name"].item()), int(self._files[row]["frame"])
        return FileRef(name, None if frame == _NO_FRAME else frame) if name else None

    def held_frame(self, row: int, table: Any) -> HeldFrame:
        """The frame that `table` holds in `row`."""
        return _held_frame(row, table["slots"][row], self.file_of(row))

    def held_frames(self, table: Any) -> list[HeldFrame]:
        """Held frames in the order of capture."""
        held = np.flatnonzero(table["slots"]["held"])
        return sorted((self.held_frame(int(row), table) for row in held), key=lambda frame: frame.seq)

    def table_copy(self) -> Any:
        """The valid table, as one consistent copy, also while the writer goes on. Raises RingUnreadable."""
        self.check_intact()
        for _ in range(1000):
            commits = int(self.header["commits"])
            copy = self.tables[commits & 1].copy()
            if int(self.header["commits"]) == commits:
                return copy
        raise F2pError(f"{self.path}: no quiet moment to read the ledger in 1000 tries")

    def close(self) -> None:
        del self.header, self.tables, self.generations, self._files
        with contextlib.suppress(BufferError):  # a picture is still looked at; the mapping goes with its last view
            self.memory.close()
        self._close_file()

    def _close_file(self) -> None:
        if self.file >= 0:
            os.close(self.file)
            self.file = -1


def ledger_of(table: Any) -> Ledger:
    return Ledger(
        captured=int(table["captured"]),
        ok=int(table["ok"]),
        ng=int(table["ng"]),
        dropped={r.value: int(n) for r, n in zip(DROPS, table["dropped"], strict=True) if n},
        not_inspected={r.value: int(n) for r, n in zip(NOT_INSPECTED, table["not_inspected"], strict=True) if n},
        in_flight=int(np.count_nonzero(table["slots"]["held"])),
    )


def _files_bytes(slots: int) -> int:
    return whole_pages((slots + PLACES) * _FILE.itemsize)


def _held_frame(slot: int, row: Any, file: FileRef | None) -> HeldFrame:
    size = (int(row["height"]), int(row["width"]))
    channels = int(row["channels"])
    return HeldFrame(
        slot=slot,
        generation=int(row["generation"]),
        seq=int(row["seq"]),
        captured_at_ns=int(row["captured_at_ns"]),
        captured_mono_ns=int(row["captured_mono_ns"]),
        shape=() if channels == 0 else size if channels == 1 else (*size, channels),
        part_id=bytes(row["part_id"]).decode() or None,
        reason=NOT_INSPECTED[int(row["reason"]) - 1] if row["reason"] else None,
        file=file,
    )

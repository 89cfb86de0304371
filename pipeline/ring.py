"""The frame ring of one camera: pixels, slot states and the camera's counters in shared memory.

    [header word | table 0 | table 1 | generations | slot 0 | slot 1 | ...]

Pixels are written once, by the ingest worker, and read in place by inference workers. Two things make that safe:

* **Generations** (a seqlock for each slot). A slot's generation is odd while it is being written and grows by two with
  every frame. A reader names the generation it expects, before and after it looked: a stale or torn picture is
  detected, never inspected.
* **Two tables.** Slot states and counters stand in a table of which there are two; the low bit of the header word tells
  the valid one. A change is prepared in the other one and becomes true by writing that single word, so a SIGKILL at
  any instruction leaves the ledger balanced. The table outlives its process: a restarted ingest worker goes on where
  the old one stood.

Slots are as large as the configuration allows, but take memory only for what frames need: the file is sparse, and the
pages of a frame are reserved before they are written, so that exhausted memory is an error and not a SIGBUS.
Segments are files in /dev/shm: `multiprocessing.shared_memory` removes a segment when any reader ends (Python < 3.13).
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from f2pnet.errors import F2pError
from f2pnet.result import Verdict
from pipeline.ledger import DropReason, Ledger, NotInspectedReason

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the kernel's shared-memory file system, not a temporary folder
PAGE_BYTES = mmap.ALLOCATIONGRANULARITY
LAYOUT_VERSION = 1
PART_ID_BYTES = 64

_DROPS = tuple(DropReason)
_NOT_INSPECTED = tuple(NotInspectedReason)

_HEADER = np.dtype(
    [
        ("magic", "S8"),
        ("layout", "<u8"),
        ("slots", "<u8"),
        ("slot_bytes", "<u8"),
        ("run_id", "S40"),
        ("commits", "<u8"),  # number of committed changes; its low bit names the valid table
    ],
    align=True,
)
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
_MAGIC = b"f2pring\x01"


class StaleFrame(F2pError):
    """The slot holds another frame by now, or is being overwritten."""


class FrameTooLarge(F2pError):
    """The frame does not fit into a slot."""


class SharedMemoryFull(F2pError):
    """The shared-memory file system has no room for this frame."""


@dataclass(frozen=True)
class HeldFrame:
    """A frame that waits in the ring for its durable verdict. `captured_mono_ns` is this host's monotonic clock."""

    slot: int
    generation: int
    seq: int
    captured_at_ns: int
    captured_mono_ns: int
    shape: tuple[int, ...]  # (H, W) or (H, W, 3); () for a picture that could not be read
    part_id: str | None = None
    reason: NotInspectedReason | None = None


class RingGeometry(NamedTuple):
    """How large a ring is."""

    slots: int
    slot_bytes: int


def _table_dtype(slots: int) -> np.dtype[Any]:
    return np.dtype(
        [
            ("captured", "<u8"),
            ("cursor", "<u8"),
            ("ok", "<u8"),
            ("ng", "<u8"),
            ("dropped", "<u8", (len(_DROPS),)),
            ("not_inspected", "<u8", (len(_NOT_INSPECTED),)),
            ("slots", _SLOT, (slots,)),
        ],
        align=True,
    )


def _pages(count_bytes: int) -> int:
    return -(-count_bytes // PAGE_BYTES) * PAGE_BYTES


class _Segment:
    """One mapped ring file and the arrays that lie in it."""

    def __init__(self, path: Path, file: int, *, writable: bool) -> None:
        self.path = path
        self.file = file
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        self.memory = mmap.mmap(file, 0, access=access)
        if len(self.memory) < _HEADER.itemsize:
            raise F2pError(f"{path} is no frame ring: {len(self.memory)} bytes; delete it")
        self.header = np.ndarray((), _HEADER, self.memory)
        if self.header["magic"] != _MAGIC or int(self.header["layout"]) != LAYOUT_VERSION:
            raise F2pError(f"{path} is no frame ring of layout {LAYOUT_VERSION}; stop what made it and delete it")
        self.geometry = RingGeometry(int(self.header["slots"]), int(self.header["slot_bytes"]))
        table = _table_dtype(self.geometry.slots)
        offset = PAGE_BYTES
        self.tables = np.ndarray((2,), table, self.memory, offset)
        offset += _pages(2 * table.itemsize)
        self.generations = np.ndarray((self.geometry.slots,), "<u8", self.memory, offset)
        self.pixels_offset = offset + _pages(self.geometry.slots * 8)

    @staticmethod
    def size_bytes(geometry: RingGeometry) -> int:
        table_bytes = _pages(2 * _table_dtype(geometry.slots).itemsize)
        return PAGE_BYTES + table_bytes + _pages(geometry.slots * 8) + geometry.slots * geometry.slot_bytes

    def slot_offset(self, slot: int) -> int:
        return self.pixels_offset + slot * self.geometry.slot_bytes

    def pixels(self, slot: int, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
        return np.ndarray(shape, np.uint8, self.memory, self.slot_offset(slot))

    def table_copy(self) -> Any:
        """The valid table, as one consistent copy, also while the writer goes on."""
        for _ in range(1000):
            commits = int(self.header["commits"])
            copy = self.tables[commits & 1].copy()
            if int(self.header["commits"]) == commits:
                return copy
        raise F2pError(f"{self.path}: no quiet moment to read the ledger in 1000 tries")

    def close(self) -> None:
        del self.header, self.tables, self.generations
        with contextlib.suppress(BufferError):  # a picture is still looked at; the mapping goes with its last view
            self.memory.close()
        os.close(self.file)


def _ledger_of(table: Any) -> Ledger:
    return Ledger(
        captured=int(table["captured"]),
        ok=int(table["ok"]),
        ng=int(table["ng"]),
        dropped={r.value: int(n) for r, n in zip(_DROPS, table["dropped"], strict=True) if n},
        not_inspected={r.value: int(n) for r, n in zip(_NOT_INSPECTED, table["not_inspected"], strict=True) if n},
        in_flight=int(np.count_nonzero(table["slots"]["held"])),
    )


def _held_frames(table: Any) -> list[HeldFrame]:
    """Held frames in the order of capture."""
    rows = [(index, row) for index, row in enumerate(table["slots"]) if row["held"]]
    return [_held_frame(index, row) for index, row in sorted(rows, key=lambda pair: int(pair[1]["seq"]))]


def _held_frame(slot: int, row: Any) -> HeldFrame:
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
        reason=_NOT_INSPECTED[int(row["reason"]) - 1] if row["reason"] else None,
    )


class FrameRing:
    """The writer's side; one process, the camera's ingest worker, and there one thread at a time.

    `settled` frees a slot; until then its pixels stay. All counters change in the same instant as the slot they are
    about.
    """

    def __init__(self, segment: _Segment) -> None:
        self._segment = segment
        self._reserved_bytes = [0] * segment.geometry.slots
        held = {frame.slot for frame in _held_frames(segment.table_copy())}
        self._free = [slot for slot in range(segment.geometry.slots) if slot not in held]

    @classmethod
    def create(cls, name: str, geometry: RingGeometry, run_id: str) -> FrameRing:
        """Make a new ring; a ring of that name that is already there is replaced."""
        path = SHARED_MEMORY / name
        fresh = path.with_suffix(".new")
        file = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        geometry = RingGeometry(geometry.slots, _pages(geometry.slot_bytes))
        os.ftruncate(file, _Segment.size_bytes(geometry))
        os.posix_fallocate(file, 0, _Segment.size_bytes(RingGeometry(geometry.slots, 0)))
        header = np.zeros((), _HEADER)
        header["magic"], header["layout"], header["run_id"] = _MAGIC, LAYOUT_VERSION, run_id.encode()
        header["slots"], header["slot_bytes"] = geometry
        os.pwrite(file, header.tobytes(), 0)
        fresh.rename(path)
        return cls(_Segment(path, file, writable=True))

    @classmethod
    def attach(cls, name: str) -> FrameRing | None:
        """Take over the ring that an earlier ingest worker left, or None where there is none."""
        path = SHARED_MEMORY / name
        try:
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        return cls(_Segment(path, file, writable=True))

    @property
    def name(self) -> str:
        return self._segment.path.name

    @property
    def run_id(self) -> str:
        return str(self._segment.header["run_id"].item().decode())

    @property
    def geometry(self) -> RingGeometry:
        return self._segment.geometry

    @property
    def ledger(self) -> Ledger:
        return _ledger_of(self._valid_table())

    @property
    def cursor(self) -> int:
        """Position in the source after the last captured frame; where a restarted worker goes on reading."""
        return int(self._valid_table()["cursor"])

    @property
    def version(self) -> int:
        """Number of changes so far: of two ledgers, the one of the higher version is the newer."""
        return int(self._segment.header["commits"])

    @property
    def has_free_slot(self) -> bool:
        return bool(self._free)

    def held_frames(self) -> list[HeldFrame]:
        return _held_frames(self._valid_table())

    def write_pixels(self, image: npt.NDArray[np.uint8]) -> int:
        """Copy a frame into a free slot and return the slot; the frame counts only once `captured` says so.

        Raises FrameTooLarge or SharedMemoryFull; the slot then stays free.
        """
        segment = self._segment
        if image.nbytes > segment.geometry.slot_bytes:
            limit_mb = segment.geometry.slot_bytes / 2**20
            raise FrameTooLarge(
                f"a frame of {image.nbytes / 2**20:.1f} MB {image.shape} is larger than a slot of {limit_mb:.0f} MB: "
                "raise the camera's max_frame_mb"
            )
        slot = self._free.pop()
        try:
            self._reserve(slot, image.nbytes)
        except SharedMemoryFull:
            self._free.append(slot)
            raise
        segment.generations[slot] |= np.uint64(1)  # odd: being written
        np.copyto(segment.pixels(slot, image.shape), image)
        segment.generations[slot] += np.uint64(1)
        return slot

    def captured(
        self,
        slot: int | None,
        shape: tuple[int, ...],
        *,
        cursor: int,
        captured_at_ns: int,
        captured_mono_ns: int,
        part_id: str | None = None,
        reason: NotInspectedReason | None = None,
    ) -> HeldFrame:
        """Count one captured frame and hold it. `slot` None: no pixels (unreadable), any free slot keeps its place."""
        slot = self._free.pop() if slot is None else slot
        with self._change() as table:
            seq = int(table["captured"])
            table["captured"] += np.uint64(1)
            table["cursor"] = cursor
            row = table["slots"][slot]
            row["held"] = True
            row["reason"] = 0 if reason is None else 1 + _NOT_INSPECTED.index(reason)
            row["channels"] = 0 if not shape else 1 if len(shape) == 2 else shape[2]
            row["height"], row["width"] = shape[:2] if shape else (0, 0)
            row["generation"], row["seq"] = self._segment.generations[slot], seq
            row["captured_at_ns"], row["captured_mono_ns"] = captured_at_ns, captured_mono_ns
            row["part_id"] = (part_id or "").encode()[:PART_ID_BYTES]
        return _held_frame(slot, row)

    def dropped_on_arrival(self, *, cursor: int) -> None:
        """Count a captured frame that found the ring full and gave way itself."""
        with self._change() as table:
            table["captured"] += np.uint64(1)
            table["cursor"] = cursor
            table["dropped"][_DROPS.index(DropReason.OVERLOAD)] += np.uint64(1)

    def dropped(self, frame: HeldFrame) -> None:
        """Let a held frame give way to overload."""
        with self._change() as table:
            table["dropped"][_DROPS.index(DropReason.OVERLOAD)] += np.uint64(1)
            table["slots"][frame.slot]["held"] = False
        self._free.append(frame.slot)

    def decided(self, frame: HeldFrame, reason: NotInspectedReason) -> None:
        """Remember that NOT_INSPECTED was decided for a held frame; it is counted when that is durable."""
        with self._change() as table:
            table["slots"][frame.slot]["reason"] = 1 + _NOT_INSPECTED.index(reason)

    def settled(self, frame: HeldFrame, verdict: Verdict, reason: NotInspectedReason | None = None) -> None:
        """Count the durable verdict of a held frame and free its slot."""
        with self._change() as table:
            if verdict is Verdict.NOT_INSPECTED:
                table["not_inspected"][_NOT_INSPECTED.index(reason or NotInspectedReason.ENGINE_FAULT)] += np.uint64(1)
            else:
                table["ok" if verdict is Verdict.OK else "ng"] += np.uint64(1)
            table["slots"][frame.slot]["held"] = False
        self._free.append(frame.slot)

    def pixels(self, frame: HeldFrame) -> npt.NDArray[np.uint8]:
        """The frame in place, (H, W) or (H, W, 3) uint8."""
        return self._segment.pixels(frame.slot, frame.shape)

    def close(self) -> None:
        """Let go of the ring. It stays, for the next process of this worker or for a last look at its ledger."""
        self._segment.close()

    def _valid_table(self) -> Any:
        return self._segment.tables[int(self._segment.header["commits"]) & 1]

    @contextlib.contextmanager
    def _change(self) -> Iterator[Any]:
        """Prepare the next table; it becomes the valid one with the single store at the end."""
        commits = int(self._segment.header["commits"])
        now, then = commits & 1, (commits + 1) & 1
        self._segment.tables[then] = self._segment.tables[now]
        yield self._segment.tables[then]
        self._segment.header["commits"] = commits + 1

    def _reserve(self, slot: int, count_bytes: int) -> None:
        if count_bytes <= self._reserved_bytes[slot]:
            return
        try:
            os.posix_fallocate(self._segment.file, self._segment.slot_offset(slot), count_bytes)
        except OSError as error:
            raise SharedMemoryFull(
                f"no room for a frame of {count_bytes / 2**20:.1f} MB in {SHARED_MEMORY} ({error.strerror}): enlarge "
                "it (containers: --shm-size) or lower the cameras' ring_slots"
            ) from error
        self._reserved_bytes[slot] = count_bytes


class RingReader:
    """A reader's side: pictures in place, the ledger, nothing that changes anything."""

    def __init__(self, name: str) -> None:
        path = SHARED_MEMORY / name
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise StaleFrame(f"there is no frame ring {name}: its ingest worker is gone") from error
        self._segment = _Segment(path, file, writable=False)

    @property
    def ledger(self) -> Ledger:
        return _ledger_of(self._segment.table_copy())

    @property
    def run_id(self) -> str:
        return str(self._segment.header["run_id"].item().decode())

    def pixels(self, slot: int, generation: int, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
        """The frame in place, read-only. Call `check` again when you are done looking. Raises StaleFrame."""
        self.check(slot, generation)
        return self._segment.pixels(slot, shape)

    def check(self, slot: int, generation: int) -> None:
        """Raise StaleFrame unless the slot still holds that generation, whole."""
        found = int(self._segment.generations[slot])
        if found != generation:
            raise StaleFrame(f"slot {slot} holds generation {found}, wanted {generation}")

    def close(self) -> None:
        self._segment.close()


def unlink_ring(name: str) -> None:
    """Remove a ring that no worker uses any more."""
    (SHARED_MEMORY / name).unlink(missing_ok=True)

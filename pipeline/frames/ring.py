"""The frame ring of one camera: pixels, slot states and the camera's counters in shared memory.

    [header word | table 0 | table 1 | generations | slot 0 | slot 1 | ...]

A frame that only waits for its NOT_INSPECTED to be durable needs no pixels: it is held in a place of the table that has
no slot, so that it costs the camera no room.

Pixels are written once, by the ingest worker, and read in place by inference workers. Two things make that safe:

* **Generations** (a seqlock for each slot). A slot's generation is odd while it is being written and grows by two with
  every frame. A reader names the generation it expects, before and after it looked: a stale or torn picture is
  detected, never inspected.
* **Two tables.** Slot states and counters stand in a table of which there are two; the low bit of the header word says
  the valid one. A change is prepared in the other one and becomes true by writing that single word, so a SIGKILL at
  any instruction leaves the ledger balanced. The table outlives its process: a restarted ingest worker goes on where
  the old one stood.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from f2pnet.inspection.result import Verdict
from pipeline.frames.file_ref import FileRef
from pipeline.frames.ledger import DropReason, Ledger, NotInspectedReason
from pipeline.frames.ring_file import give_name, new_ring_file, open_ring
from pipeline.frames.ring_memory import (
    DROPS,
    NAME_BYTES,
    NOT_INSPECTED,
    PART_ID_BYTES,
    FrameTooLarge,
    HeldFrame,
    RingGeometry,
    RingMemory,
    RingMissing,
    StaleFrame,
    ledger_of,
)
from pipeline.frames.slot_pages import SlotPages


class FrameRing:
    """The writer's side; one process, the camera's ingest worker, and there one thread at a time.

    `settled` frees a slot; until then its pixels stay. All counters change in the same instant as the slot they are
    about.
    """

    def __init__(self, memory: RingMemory) -> None:
        self._memory = memory
        self._pages = SlotPages(memory)
        held = {frame.slot: frame for frame in memory.held_frames(memory.table_copy())}
        for slot, frame in held.items():
            if frame.shape:
                self._pages.known(slot, math.prod(frame.shape))
        # First freed, first used: a picture stays readable until its slot is needed (the console shows it).
        self._free = deque(slot for slot in range(memory.geometry.slots) if slot not in held)
        self._free_places = deque(place for place in memory.geometry.places if place not in held)

    @classmethod
    def create(cls, name: str, geometry: RingGeometry, run_id: str) -> FrameRing:
        """Make a new ring; a ring of that name that is already there is replaced. Raises OutOfResources."""
        memory = new_ring_file(name, geometry, run_id)
        give_name(memory, name)
        return cls(memory)

    @classmethod
    def attach(cls, name: str) -> FrameRing | None:
        """Take over the ring that an earlier ingest worker left, or None where there is none.

        Raises RingUnreadable or OutOfResources.
        """
        try:
            return cls(open_ring(name, writable=True))
        except RingMissing:
            return None

    @property
    def name(self) -> str:
        return self._memory.path.name

    @property
    def memory(self) -> RingMemory:
        """What it lies in, for moving it to another file."""
        return self._memory

    @property
    def run_id(self) -> str:
        return self._memory.run_id

    @property
    def ring_id(self) -> str:
        """Of this file: leases name it, since a ring may be replaced by another one of its name and run."""
        return self._memory.ring_id

    @property
    def has_its_name(self) -> bool:
        """False once others can't find the ring any more: its file was removed or replaced."""
        return self._memory.has_its_name

    @property
    def geometry(self) -> RingGeometry:
        return self._memory.geometry

    @property
    def slots_without_memory(self) -> int:
        """How many slots are not used because shared memory has no room for them."""
        return self._pages.refused

    @property
    def ledger(self) -> Ledger:
        return ledger_of(self._valid_table())

    @property
    def cursor(self) -> int:
        """Position in its `source` after the last captured frame; where a restarted worker goes on reading."""
        return int(self._valid_table()["cursor"])

    @property
    def last_name(self) -> str:
        """File name of the last captured frame; empty where frames have none."""
        return bytes(self._valid_table()["last_name"]).decode(errors="surrogateescape")

    @property
    def source(self) -> str:
        """What the cursor counts in; empty before `begin_source`."""
        return bytes(self._valid_table()["source"]).decode()

    def begin_source(self, source: str, cursor: int) -> None:
        """From now on the cursor counts in this source."""
        if self.version == 0:  # nothing was captured: the run has not begun, and does not begin with this
            self._set_source(self._valid_table(), source, cursor)
            return
        with self._change() as table:
            self._set_source(table, source, cursor)

    @staticmethod
    def _set_source(table: Any, source: str, cursor: int) -> None:
        table["source"], table["cursor"], table["last_name"] = source.encode(), cursor, b""

    @property
    def version(self) -> int:
        """Number of changes so far: of two ledgers, the one of the higher version is the newer."""
        return int(self._memory.header["commits"])

    @property
    def has_free_slot(self) -> bool:
        """Whether a frame can be written, or at least waiting for a slot would not help."""
        return self._pages.any_usable(self._free)

    @property
    def has_free_place(self) -> bool:
        """Whether a frame without pixels can be held without taking a slot."""
        return bool(self._free_places)

    def held_frames(self) -> list[HeldFrame]:
        return self._memory.held_frames(self._valid_table())

    def write_pixels(self, image: npt.NDArray[np.uint8]) -> int:
        """Copy a frame into a free slot and return the slot; the frame counts only once `captured` says so.

        Raises FrameTooLarge or SharedMemoryFull; the slot then stays free.
        """
        memory = self._memory
        if image.nbytes > memory.geometry.slot_bytes:
            limit_mb = memory.geometry.slot_bytes / 2**20
            raise FrameTooLarge(
                f"a frame of {image.nbytes / 2**20:.1f} MB {image.shape} is larger than a slot of {limit_mb:.0f} MB: "
                "raise the camera's max_frame_mb"
            )
        slot = self._pages.reserve_one(self._free, image.nbytes)
        self._free.remove(slot)
        memory.generations[slot] |= np.uint64(1)  # odd: being written
        np.copyto(memory.pixels(slot, image.shape), image)
        memory.generations[slot] += np.uint64(1)
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
        file: FileRef | None = None,
    ) -> HeldFrame:
        """Count one captured frame and hold it. `slot` None: no pixels; without a free place it takes a slot.

        `file`: where it comes from, which also finds the place in the source again.
        """
        if slot is None:
            slot = (self._free_places or self._free).popleft()
        self._memory.set_file(slot, file)
        with self._change() as table:
            seq = int(table["captured"])
            table["captured"] += np.uint64(1)
            _set_place(table, cursor, file)
            row = table["slots"][slot]
            row["held"] = True
            row["reason"] = 0 if reason is None else 1 + NOT_INSPECTED.index(reason)
            row["channels"] = 0 if not shape else 1 if len(shape) == 2 else shape[2]
            row["height"], row["width"] = shape[:2] if shape else (0, 0)
            row["generation"], row["seq"] = self._generation(slot), seq
            row["captured_at_ns"], row["captured_mono_ns"] = captured_at_ns, captured_mono_ns
            row["part_id"] = (part_id or "").encode()[:PART_ID_BYTES]
        return self._memory.held_frame(slot, table)

    def dropped_on_arrival(self, *, cursor: int, file: FileRef | None = None) -> None:
        """Count a captured frame that found the ring full and was dropped itself."""
        with self._change() as table:
            table["captured"] += np.uint64(1)
            _set_place(table, cursor, file)
            table["dropped"][DROPS.index(DropReason.OVERLOAD)] += np.uint64(1)

    def dropped(self, frame: HeldFrame) -> None:
        """Drop a held frame because of overload."""
        with self._change() as table:
            table["dropped"][DROPS.index(DropReason.OVERLOAD)] += np.uint64(1)
            table["slots"][frame.slot]["held"] = False
        self._release(frame.slot)

    def shed(self, frame: HeldFrame, reason: NotInspectedReason) -> HeldFrame:
        """Decide NOT_INSPECTED for a held frame and free its slot; it is held on in a place without pixels."""
        place = self._free_places.popleft()
        self._memory.set_file(place, frame.file)
        with self._change() as table:
            table["slots"][place] = table["slots"][frame.slot]
            row = table["slots"][place]
            row["channels"] = row["height"] = row["width"] = row["generation"] = 0
            row["reason"] = 1 + NOT_INSPECTED.index(reason)
            table["slots"][frame.slot]["held"] = False
        self._release(frame.slot)
        return self._memory.held_frame(place, table)

    def decided(self, frame: HeldFrame, reason: NotInspectedReason) -> None:
        """Remember that NOT_INSPECTED was decided for a held frame; it is counted when that is durable."""
        with self._change() as table:
            table["slots"][frame.slot]["reason"] = 1 + NOT_INSPECTED.index(reason)

    def settled(self, frame: HeldFrame, verdict: Verdict, reason: NotInspectedReason | None = None) -> None:
        """Count the durable verdict of a held frame and free its slot."""
        with self._change() as table:
            if verdict is Verdict.NOT_INSPECTED:
                table["not_inspected"][NOT_INSPECTED.index(reason or NotInspectedReason.ENGINE_FAULT)] += np.uint64(1)
            else:
                table["ok" if verdict is Verdict.OK else "ng"] += np.uint64(1)
            table["slots"][frame.slot]["held"] = False
        self._release(frame.slot)

    def pixels(self, frame: HeldFrame) -> npt.NDArray[np.uint8]:
        """The frame in place, (H, W) or (H, W, 3) uint8."""
        return self._memory.pixels(frame.slot, frame.shape)

    def close(self) -> None:
        """Let go of the ring. It stays, for the next process of this worker or for a last look at its ledger."""
        self._memory.close()

    def _release(self, slot: int) -> None:
        (self._free if slot < self._memory.geometry.slots else self._free_places).append(slot)

    def _generation(self, slot: int) -> int:
        return int(self._memory.generations[slot]) if slot < self._memory.geometry.slots else 0

    def _valid_table(self) -> Any:
        return self._memory.tables[int(self._memory.header["commits"]) & 1]

    @contextlib.contextmanager
    def _change(self) -> Iterator[Any]:
        """Prepare the next table; it becomes the valid one with the single store at the end."""
        commits = int(self._memory.header["commits"])
        now, then = commits & 1, (commits + 1) & 1
        self._memory.tables[then] = self._memory.tables[now]
        yield self._memory.tables[then]
        self._memory.header["commits"] = commits + 1


def _set_place(table: Any, cursor: int, file: FileRef | None) -> None:
    table["cursor"] = cursor
    table["last_name"] = b"" if file is None else os.fsencode(file.name)[:NAME_BYTES]


class RingReader:
    """A reader's side: pictures in place, the ledger, nothing that changes anything."""

    def __init__(self, name: str) -> None:
        """Raises RingMissing, RingUnreadable or OutOfResources."""
        self._memory = open_ring(name, writable=False)

    @property
    def memory(self) -> RingMemory:
        """What it lies in, for moving it to another file."""
        return self._memory

    @property
    def is_gone(self) -> bool:
        """Whether the ring was removed, or replaced by another one of its name."""
        return not self._memory.has_its_name

    @property
    def ledger(self) -> Ledger:
        """Raises RingUnreadable when somebody cut the ring, or wrote over it."""
        return ledger_of(self._memory.table_copy())

    @property
    def run_id(self) -> str:
        return self._memory.run_id

    @property
    def ring_id(self) -> str:
        """Of this file; see `FrameRing.ring_id`."""
        return self._memory.ring_id

    def readable_frames(self) -> list[HeldFrame]:
        """Frames whose pixels are still there, held or not, in no order."""
        table = self._memory.table_copy()
        frames = (self._memory.held_frame(slot, table) for slot in range(self._memory.geometry.slots))
        return [f for f in frames if f.shape and int(self._memory.generations[f.slot]) == f.generation]

    def pixels(self, slot: int, generation: int, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
        """The frame in place, read-only. Call `check` again when you are done looking. Raises StaleFrame."""
        self.check(slot, generation)
        if math.prod(shape) > self._memory.geometry.slot_bytes:
            raise StaleFrame(f"a frame of shape {shape} is larger than slot {slot}")
        return self._memory.pixels(slot, shape)

    def check(self, slot: int, generation: int) -> None:
        """Raise StaleFrame unless the slot still holds that generation, whole."""
        _check(self._memory.generations, slot, generation)

    def checker(self, slot: int, generation: int) -> Callable[[], None]:
        """`check` of this frame, for any thread, and also when the ring was closed meanwhile."""
        return partial(_check, self._memory.generations, slot, generation)

    def close(self) -> None:
        self._memory.close()


def _check(generations: npt.NDArray[np.uint64], slot: int, generation: int) -> None:
    if not 0 <= slot < len(generations):
        raise StaleFrame(f"there is no slot {slot}")
    found = int(generations[slot])
    if found != generation:
        raise StaleFrame(f"slot {slot} holds generation {found}, wanted {generation}")

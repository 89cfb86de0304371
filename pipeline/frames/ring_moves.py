"""A ring that goes on in another file: larger or smaller, or because its file was removed.

Run, numbers, counters and held frames stay as they are, so that no frame id is used twice. Only the file is new, with a
ring id of its own.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from f2pnet.errors import OutOfResources
from pipeline.frames.ledger import NotInspectedReason
from pipeline.frames.ring import FrameRing
from pipeline.frames.ring_file import give_name, new_ring_file
from pipeline.frames.ring_memory import (
    NOT_INSPECTED,
    PLACES,
    HeldFrame,
    RingGeometry,
    RingMemory,
    SharedMemoryFull,
)
from pipeline.frames.slot_pages import SlotPages


def continue_ring(old: RingMemory, name: str, wanted: RingGeometry) -> FrameRing:
    """A ring called `name` that goes on where `old` stands; nobody may write to `old` meanwhile or afterwards.

    It is as large as `wanted`, or larger where the held frames need that. A frame for whose pixels there is no memory
    is held without them, as NOT_INSPECTED (no_memory). Raises OutOfResources or RingUnreadable; `old` stays as it is.
    """
    table = old.table_copy()
    frames = old.held_frames(table)
    memory = new_ring_file(name, _large_enough(wanted, frames), old.run_id)
    try:
        _copy_table(memory, table, version=int(old.header["commits"]))
        _copy_frames(old, memory, frames)
        give_name(memory, name)
    except BaseException:
        memory.path.unlink(missing_ok=True)
        memory.close()
        raise
    return FrameRing(memory)


def _large_enough(wanted: RingGeometry, frames: list[HeldFrame]) -> RingGeometry:
    with_pixels = sum(bool(frame.shape) for frame in frames)
    more_than_places = max(0, len(frames) - with_pixels - PLACES)
    largest_bytes = max((math.prod(frame.shape) for frame in frames if frame.shape), default=0)
    return RingGeometry(max(wanted.slots, with_pixels + more_than_places), max(wanted.slot_bytes, largest_bytes))


def _copy_table(memory: RingMemory, table: Any, version: int) -> None:
    """Everything but the slots, into table 0. The version goes on, as the newest ledger is known by it."""
    for name in table.dtype.names or ():
        if name != "slots":
            memory.tables[0][name] = table[name]
    memory.header["commits"] = version + version % 2  # an even number names table 0


def _copy_frames(old: RingMemory, memory: RingMemory, frames: list[HeldFrame]) -> None:
    pages, slots, places = SlotPages(memory), list(range(memory.geometry.slots)), list(memory.geometry.places)
    rows = old.table_copy()["slots"]
    for frame in frames:
        at, kept = _room_for(frame, pages, slots, places)
        memory.tables[0]["slots"][at] = rows[frame.slot]
        memory.set_file(at, frame.file)
        row = memory.tables[0]["slots"][at]
        if kept:
            np.copyto(memory.pixels(at, frame.shape), old.pixels(frame.slot, frame.shape))
            memory.generations[at] = row["generation"] = 2
            continue
        row["channels"] = row["height"] = row["width"] = row["generation"] = 0
        if frame.reason is None:
            row["reason"] = 1 + NOT_INSPECTED.index(NotInspectedReason.NO_MEMORY)


def _room_for(frame: HeldFrame, pages: SlotPages, slots: list[int], places: list[int]) -> tuple[int, bool]:
    """Slot or place for a frame, and whether its pixels come with it."""
    if frame.shape:
        try:
            slot = pages.reserve_one(slots, math.prod(frame.shape))
        except SharedMemoryFull:
            pass
        else:
            slots.remove(slot)
            return slot, True
    if not places and not slots:
        raise OutOfResources("no room in the new frame ring for the frames of the old one")
    return (places or slots).pop(0), False

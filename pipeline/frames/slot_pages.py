"""Which slots of a ring have memory. A slot that got none is tried again later; the others are used meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable

from pipeline.frames.ring_memory import RingMemory, SharedMemoryFull
from pipeline.frames.shared_memory import SHARED_MEMORY

TRY_AGAIN_S = 1.0


class SlotPages:
    """Pages are reserved before a frame is written, so that exhausted memory is an error and not a SIGBUS.

    `clock` gives monotonic seconds.
    """

    def __init__(self, memory: RingMemory, clock: Callable[[], float] = time.monotonic) -> None:
        self._memory = memory
        self._clock = clock
        self._bytes = [0] * memory.geometry.slots  # known to be reserved
        self._refused_until_s: dict[int, float] = {}

    def known(self, slot: int, count_bytes: int) -> None:
        """The slot holds a frame of that size, so its pages are there."""
        self._bytes[slot] = max(self._bytes[slot], count_bytes)

    @property
    def refused(self) -> int:
        """Number of slots that have no memory."""
        return len(self._refused_until_s)

    def any_usable(self, free: Iterable[int]) -> bool:
        """Whether one of the free slots can be used now, or waiting for another one is of no use."""
        if not self._refused_until_s:
            return any(True for _ in free)
        now_s = self._clock()
        some = False
        for slot in free:
            some = True
            if self._bytes[slot] or now_s >= self._refused_until_s.get(slot, 0.0):
                return True
        return some and not any(self._bytes)

    def reserve_one(self, free: Iterable[int], count_bytes: int) -> int:
        """The first of the free slots that has, or gets, so much memory. Raises SharedMemoryFull."""
        now_s, refusal = self._clock(), ""
        for slot in free:
            if self._bytes[slot] >= count_bytes:
                return slot
            if refusal or now_s < self._refused_until_s.get(slot, 0.0):
                continue
            try:
                os.posix_fallocate(self._memory.file, self._memory.slot_offset(slot), count_bytes)
            except OSError as error:
                refusal = error.strerror or str(error)
                self._refused_until_s[slot] = now_s + TRY_AGAIN_S
                continue
            self._bytes[slot] = count_bytes
            self._refused_until_s.pop(slot, None)
            return slot
        raise SharedMemoryFull(
            f"no room for a frame of {count_bytes / 2**20:.1f} MB in {SHARED_MEMORY} ({refusal or 'as a moment ago'}): "
            "enlarge it (containers: --shm-size) or lower the cameras' ring_slots"
        )

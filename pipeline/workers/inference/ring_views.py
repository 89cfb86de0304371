"""The frame ring of one camera as an inference worker sees it, by the id that its leases name.

A ring may be replaced while leases on the old file are in hand. The old file stays mapped until they are done: a lease
is always looked up in the ring it was given for.
"""

from __future__ import annotations

from pipeline.frames.ring import RingReader
from pipeline.frames.ring_memory import RingMissing
from pipeline.wire.messages import Lease
from pipeline.workers.inference.leased_frame import Picture

RINGS_KEPT = 2


class RingViews:
    """Opens rings when a lease first needs them."""

    def __init__(self) -> None:
        self._readers: dict[str, RingReader] = {}  # by ring id, the latest last

    def picture(self, lease: Lease) -> Picture:
        """The leased frame in place. Raises StaleFrame, RingMissing, RingUnreadable or OutOfResources.

        It can be looked at and checked also when its ring was closed meanwhile.
        """
        reader = self._readers.get(lease.ring_id) or self._open(lease)
        pixels = reader.pixels(lease.slot, lease.generation, tuple(lease.shape))
        return Picture(pixels, reader.checker(lease.slot, lease.generation))

    def close(self) -> None:
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    def _open(self, lease: Lease) -> RingReader:
        reader = RingReader(lease.ring)
        if reader.ring_id != lease.ring_id:
            reader.close()
            raise RingMissing(f"frame ring {lease.ring} was replaced by another one")
        while len(self._readers) >= RINGS_KEPT:
            self._readers.pop(next(iter(self._readers))).close()
        self._readers[lease.ring_id] = reader
        return reader

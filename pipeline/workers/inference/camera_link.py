"""What an inference worker knows of one camera: its link, its ring, and which of its leases are in hand."""

from __future__ import annotations

from collections import deque

from pipeline.wire.messages import Lease
from pipeline.wire.transport import Link
from pipeline.workers.inference.leased_frame import LeasedFrame, Picture
from pipeline.workers.inference.ring_views import RingViews

RINGS_REPORTED = 16


class CameraLink:
    """One camera that this worker serves."""

    def __init__(self, camera_id: str, link: Link) -> None:
        self.id = camera_id
        self.link = link
        self.epoch = ""
        self.received = 0
        self.holding: set[int] = set()
        """Numbers of the leases in hand, of this epoch."""
        self.ready_due_ns = 0
        self.rings = RingViews()
        self.reported_ring_ids: deque[str] = deque(maxlen=RINGS_REPORTED)  # of rings whose absence was reported

    def take(self, lease: Lease) -> None:
        """A lease arrived."""
        if lease.epoch != self.epoch:
            self.epoch, self.received = lease.epoch, 0
            self.holding.clear()
        self.received = max(self.received, lease.number)
        self.holding.add(lease.number)

    def done_with(self, lease: Lease) -> None:
        """The lease was answered, or given up: there is room."""
        if lease.epoch == self.epoch:
            self.holding.discard(lease.number)
        self.ready_due_ns = 0

    def picture(self, frame: LeasedFrame) -> Picture:
        """The frame's pixels. Raises StaleFrame, RingMissing, RingUnreadable or OutOfResources."""
        return frame.inline_picture() or self.rings.picture(frame.lease)

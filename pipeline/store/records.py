"""What the store is given, and what it answers."""

from __future__ import annotations

import msgspec

from f2pnet.inspection.result import Verdict


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One verdict, or one fault event, on its way to the store.

    A frame's identity is (camera_id, run_id, seq), and `frame_id` spells it. A fault event has no `seq`; there
    `frame_id` is its event id, and `camera_id` and `run_id` may be empty.
    """

    frame_id: str
    camera_id: str
    run_id: str
    seq: int | None
    verdict: Verdict
    reason: str | None = None
    part_id: str | None = None
    captured_at_ns: int  # UTC, ns since the epoch; of a fault: when it was noticed
    data: bytes  # the result as JSON

    def __post_init__(self) -> None:
        if self.is_fault != (self.seq is None):
            raise ValueError(f"{self.frame_id}: a frame has a seq, a fault has none; found {self.verdict}, {self.seq}")
        if self.seq is not None and self.seq < 0:
            raise ValueError(f"{self.frame_id}: seq counts from 0, found {self.seq}")

    @property
    def is_fault(self) -> bool:
        return self.verdict == Verdict.FAULT

    @property
    def is_alert(self) -> bool:
        """Somebody should look at it: anything but OK."""
        return self.verdict != Verdict.OK


class Stored(msgspec.Struct, frozen=True):
    """What stands for a frame after a write: the first verdict that came, whatever the one just sent says."""

    verdict: Verdict
    reason: str | None  # of a NOT_INSPECTED, where it is known
    new: bool  # False: the frame or event was known already, and nothing was added

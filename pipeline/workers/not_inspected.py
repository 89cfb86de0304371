"""The verdict of a frame that nobody inspected."""

from __future__ import annotations

import time

from f2pnet.frame_id import FrameId
from f2pnet.inspection.result import InspectionResult, Verdict
from pipeline.frames.ledger import NotInspectedReason
from pipeline.frames.ring_memory import HeldFrame
from pipeline.wire.messages import Judged


def not_inspected(line: str, camera_id: str, run_id: str, frame: HeldFrame, reason: NotInspectedReason) -> Judged:
    """NOT_INSPECTED for a held frame, ready to be sent."""
    return Judged(
        result=InspectionResult(
            frame_id=str(FrameId(camera_id, run_id, frame.seq)),
            line=line,
            camera_id=camera_id,
            seq=frame.seq,
            part_id=frame.part_id,
            source_ref=None if frame.file is None else frame.file.as_result(),
            captured_at_ns=frame.captured_at_ns,
            verdict=Verdict.NOT_INSPECTED,
            reason=reason.value,
        ),
        captured_mono_ns=frame.captured_mono_ns,
        judged_mono_ns=time.monotonic_ns(),
    )

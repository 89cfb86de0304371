"""A batch on its way through an inference worker: its frames, what the engine is given at once, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from f2pnet.backends.base import Batch
from f2pnet.inspection.judging import FramePlan, Judge
from f2pnet.inspection.result import InspectionResult
from f2pnet.inspection.tiles import View, Window
from pipeline.frames.ring_memory import StaleFrame
from pipeline.workers.inference.leased_frame import LeasedFrame, Picture


@dataclass(eq=False)
class FrameRun:
    """One frame of a batch."""

    frame: LeasedFrame
    picture: Picture
    plan: FramePlan
    views: list[View] = field(default_factory=list)
    stale: StaleFrame | None = None
    """Set where the picture changed while it was looked at: there is no result then."""
    result: InspectionResult | None = None
    evidence: list[bytes] = field(default_factory=list)
    """The encoded picture, where one is kept."""


@dataclass(eq=False)
class BatchRun:
    """Frames that go through the engine together, with the recipe that was in force when they were taken."""

    judge: Judge
    frames: list[FrameRun]
    taken_ns: int
    overdue_ns: int
    """When something is wrong if the batch is not through, monotonic ns."""
    is_retry: bool = False
    """A frame of a batch that failed; there is no further try."""
    chunks_left: int = 0
    """How many of its chunks the engine has not answered."""
    ungraded: int = 0
    """How many groups of its frames have not been graded."""
    resize_ms: float = 0.0
    engine_ms: float = 0.0
    """Time in which the engine worked for this batch alone."""
    answered_ns: int = 0
    done_ns: int = 0
    error: Exception | None = None
    """Why there is no result for any of the frames."""

    @property
    def own_ms(self) -> float:
        """What the batch took, without waiting for those before it."""
        return self.resize_ms + self.engine_ms + (self.done_ns - self.answered_ns) / 1e6


@dataclass(eq=False)
class Chunk:
    """What the engine is given at once: windows of one batch's frames."""

    run: BatchRun
    pieces: Sequence[tuple[FrameRun, Window]]
    buffer: Batch | None = None
    fed_ns: int = 0
    unfilled: int = 0
    """How many groups of its pieces have not been resized into the buffer; 0 in a fed chunk: the engine may run it."""


def chunks_of(run: BatchRun, most: int) -> list[Chunk]:
    """The batch in chunks of at most `most` windows."""
    pieces = [(frame, window) for frame in run.frames for window in frame.plan.windows]
    return [Chunk(run, pieces[start : start + most]) for start in range(0, len(pieces), most)]

"""Rings of runs that ended without draining: their frames are reported as NOT_INSPECTED, and their ledger is closed.

Such a ring keeps its frames, under a name of its own, until each of them is durable: whoever reports them may be killed
too, and the next start goes on with what is left.
"""

from __future__ import annotations

import structlog

from pipeline.frames.ledger import NotInspectedReason, reason_named
from pipeline.frames.ring import FrameRing
from pipeline.frames.ring_file import unlink_ring
from pipeline.processes.periodic import Periodic
from pipeline.wire.messages import Acks, LedgerReport, Verdicts
from pipeline.wire.rundir import RingName
from pipeline.wire.transport import Link
from pipeline.workers.not_inspected import not_inspected

SAY_AGAIN_S = 1.0
FINAL_REPORTS = 2  # how often a closed ledger is stated, since a message may be lost
_log = structlog.get_logger(__name__)


class LeftRing:
    """One ring of a run that is over. `done` when nothing in it waits any more; the file is then removed."""

    def __init__(self, line: str, name: RingName, ring: FrameRing) -> None:
        self.done = False
        self._line = line
        self._name = name
        self._ring = ring
        self._held = {frame.seq: frame for frame in ring.held_frames()}
        self._saying = Periodic(SAY_AGAIN_S)
        self._ledger_reports = 0
        if self._held:
            _log.warning("frames of an ended run are reported", ring=ring.name, run=ring.run_id, frames=len(self._held))

    @property
    def run_id(self) -> str:
        return self._ring.run_id

    @property
    def waiting(self) -> int:
        """Frames whose NOT_INSPECTED is not durable yet."""
        return len(self._held)

    def report(self, publish: Link) -> None:
        """Send what is due: verdicts until they are acknowledged, then the closed ledger."""
        if self.done or not self._saying.due():
            return
        camera_id, run_id = self._name.camera_id, self._ring.run_id
        restarted = NotInspectedReason.LINE_RESTARTED
        items = [
            not_inspected(self._line, camera_id, run_id, frame, frame.reason or restarted)
            for frame in self._held.values()
        ]
        if items:
            publish.send(Verdicts(items=items))
        report = LedgerReport(
            camera_id=camera_id, run_id=run_id, version=self._ring.version, ledger=self._ring.ledger, current=False
        )
        if publish.send(report) and not items:
            self._ledger_reports += 1
            if self._ledger_reports >= FINAL_REPORTS:
                self.close()
                unlink_ring(self._name.file_name)

    def settle(self, acks: Acks) -> None:
        """Count what is durable by now."""
        if self.done or acks.run_id != self._ring.run_id:
            return
        for seq, verdict, reason in acks.stored:
            if (frame := self._held.pop(seq, None)) is not None:
                self._ring.settled(frame, verdict, reason_named(reason) if reason else None)
        if not self._held:
            self._saying.hurry()

    def close(self) -> None:
        """Let go of the file; without `done` it stays for the next start."""
        if not self.done:
            self.done = True
            self._ring.close()

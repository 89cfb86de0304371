"""Names of a line's keys in Redis (contract, "Redis").

The line stands in braces, so that a cluster keeps all keys of a line together, where one transaction can change them.
"""

from __future__ import annotations

from dataclasses import dataclass

FRAMES_PER_CHUNK = 65_536
"""Frames whose verdicts share one bit field; at a byte each a field takes at most 64 KiB."""


@dataclass(frozen=True)
class LineKeys:
    """Every key of one line."""

    line: str

    @property
    def results(self) -> str:
        """Stream of every verdict."""
        return f"f2p:{{{self.line}}}:results"

    @property
    def alerts(self) -> str:
        """Stream of NG, NOT_INSPECTED and FAULT."""
        return f"f2p:{{{self.line}}}:alerts"

    @property
    def dead_letters(self) -> str:
        """Stream of alerts that a sink's receiver refused for good."""
        return f"f2p:{{{self.line}}}:dead-letters"

    @property
    def reviews(self) -> str:
        """Hash: frame id -> JSON of a reviewer's word."""
        return f"f2p:{{{self.line}}}:reviews"

    @property
    def acknowledged(self) -> str:
        """Hash: frame or event id -> when and by whom its alert was seen."""
        return f"f2p:{{{self.line}}}:acknowledged"

    @property
    def holder(self) -> str:
        """JSON of the process that runs the line; expires a few seconds after that died."""
        return f"f2p:{{{self.line}}}:holder"

    @property
    def workers(self) -> str:
        """Hash: worker name -> JSON heartbeat."""
        return f"f2p:{{{self.line}}}:workers"

    def ledger(self, camera_id: str) -> str:
        """Hash: counters of the camera's present run, and `run_id`."""
        return f"f2p:{{{self.line}}}:ledger:{camera_id}"

    def run_ledger(self, camera_id: str, run_id: str) -> str:
        """Hash: counters of one run, kept for a week, so that older verdicts can still be checked against theirs."""
        return f"f2p:{{{self.line}}}:ledger:{camera_id}:{run_id}"

    def seen(self, camera_id: str, run_id: str, seq: int) -> str:
        """Bit field that tells which frames around `seq` have a verdict, and which."""
        return f"f2p:{{{self.line}}}:seen:{camera_id}:{run_id}:{seq // FRAMES_PER_CHUNK}"

    def event(self, event_id: str) -> str:
        """Marks a fault event as already told."""
        return f"f2p:{{{self.line}}}:event:{event_id}"

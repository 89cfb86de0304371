"""Names of a line's keys in Redis (docs/contract.md).

The line stands in braces, so that a cluster keeps all keys of a line together, where one transaction can change them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

FRAMES_PER_CHUNK = 65_536
"""Frames whose verdicts share one bit field; at a byte each a field takes at most 64 KiB."""
_CAMERA_AND_RUN = re.compile(rb"([A-Za-z0-9][A-Za-z0-9_.-]{0,63}):([A-Za-z0-9][A-Za-z0-9-]{0,63})")


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
        """Bit field that says which frames around `seq` have a verdict, and which."""
        return f"f2p:{{{self.line}}}:seen:{camera_id}:{run_id}:{seq // FRAMES_PER_CHUNK}"

    @property
    def events(self) -> str:
        """Sorted set: ids of the newest fault events that were stored, by the time of their storing."""
        return f"f2p:{{{self.line}}}:events"

    @property
    def trimmed(self) -> str:
        """Hash: for each stream the id up to which retention took entries away, and the last link of the hash chain."""
        return f"f2p:{{{self.line}}}:trimmed"

    def run_trimmed(self, camera_id: str, run_id: str) -> str:
        """Hash: how many entries of one run retention took away, by stream."""
        return f"f2p:{{{self.line}}}:trimmed:{camera_id}:{run_id}"

    @property
    def chain(self) -> str:
        """Hash: number and hash of the newest link of the results' hash chain."""
        return f"f2p:{{{self.line}}}:chain"

    @property
    def run_ledgers(self) -> str:
        """What the keys of `run_ledger` begin with."""
        return f"f2p:{{{self.line}}}:ledger:"

    def parse_run_ledger(self, key: bytes) -> tuple[str, str] | None:
        """Camera and run of a key that `run_ledger` made; None for any other key."""
        found = _CAMERA_AND_RUN.fullmatch(key.removeprefix(self.run_ledgers.encode()))
        return (found[1].decode(), found[2].decode()) if found else None

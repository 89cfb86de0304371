"""The ledger of one camera: every captured frame is inspected, dropped, not inspected, or in flight.

Reasons are a closed list, so that their counters have a fixed place in shared memory and a fixed name in the store.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class DropReason(StrEnum):
    """Why a frame, of no part that is known, got no verdict and raised no alert."""

    OVERLOAD = "overload"  # the ring was full and the camera's policy let this frame give way


class NotInspectedReason(StrEnum):
    """Why a frame's verdict is NOT_INSPECTED."""

    DEADLINE = "deadline"  # no durable verdict within the camera's deadline_ms
    UNREADABLE = "unreadable"  # the source had a picture that could not be decoded
    OVERRUN = "overrun"  # it came, and the worker did not read it in time
    FRAME_TOO_LARGE = "frame_too_large"  # larger than the ring's slots
    ROI_OUTSIDE_FRAME = "roi_outside_frame"  # the recipe's region of interest misses a frame of this size
    ENGINE_FAULT = "engine_fault"  # the engine failed on it, or its workers died, as often as it was tried
    SHUTDOWN = "shutdown"  # the line stopped before its turn came
    LINE_RESTARTED = "line_restarted"  # held by a line that ended without draining
    NO_MEMORY = "no_memory"  # shared memory was exhausted
    OVERLOAD = "overload"  # the ring was full, and the frame that gave way shows a part


def reason_named(name: str) -> NotInspectedReason:
    """The reason of that name; one that has no counter of its own counts as the engine's fault."""
    try:
        return NotInspectedReason(name)
    except ValueError:
        return NotInspectedReason.ENGINE_FAULT


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """Counts since the start of the run. `in_flight` is counted from the frames held, not derived from the others."""

    captured: int = 0
    ok: int = 0
    ng: int = 0
    dropped: dict[str, int] = msgspec.field(default_factory=dict)
    not_inspected: dict[str, int] = msgspec.field(default_factory=dict)
    in_flight: int = 0

    @property
    def inspected(self) -> int:
        return self.ok + self.ng

    @property
    def accounted(self) -> int:
        """What `captured` must equal at all times."""
        return self.inspected + sum(self.dropped.values()) + sum(self.not_inspected.values()) + self.in_flight

    @property
    def balanced(self) -> bool:
        return self.captured == self.accounted

    def as_hash_fields(self) -> dict[str, int]:
        """Flat fields of the ledger hash in the store (contract, "Redis")."""
        fields = {"captured": self.captured, "ok": self.ok, "ng": self.ng, "in_flight": self.in_flight}
        fields |= {f"dropped:{reason}": count for reason, count in self.dropped.items()}
        fields |= {f"not_inspected:{reason}": count for reason, count in self.not_inspected.items()}
        return fields

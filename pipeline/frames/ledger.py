"""The ledger of one camera: every captured frame is inspected, dropped, not inspected, or in flight.

Reasons are a closed list, so that their counters have a fixed place in shared memory and a fixed name in the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec


class DropReason(StrEnum):
    """Why a frame, of no part that is known, got no verdict and raised no alert."""

    OVERLOAD = "overload"  # the ring was full and the camera's policy dropped this frame


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
    OVERLOAD = "overload"  # the ring was full, and the dropped frame shows a part


REASON_COUNTERS = frozenset(
    [f"dropped:{reason}" for reason in DropReason] + [f"not_inspected:{reason}" for reason in NotInspectedReason]
)
"""Names of the counters that a ledger has only where they are not 0."""


def reason_named(name: str) -> NotInspectedReason:
    """The reason of that name; one that has no counter of its own counts as the engine's fault."""
    try:
        return NotInspectedReason(name)
    except ValueError:
        return NotInspectedReason.ENGINE_FAULT


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """Counts since the start of the run. `in_flight` is counted from the frames held, not derived from the others."""

    captured: int = 0
    """Frames that the camera gave: the sum of all others."""
    ok: int = 0
    """Verdict OK."""
    ng: int = 0
    """Verdict NG."""
    dropped: dict[str, int] = msgspec.field(default_factory=dict)
    """No verdict, by reason."""
    not_inspected: dict[str, int] = msgspec.field(default_factory=dict)
    """Verdict NOT_INSPECTED, by reason."""
    in_flight: int = 0
    """No durable verdict yet."""

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
        """Flat fields of the ledger hash in the store (docs/contract.md)."""
        fields = {"captured": self.captured, "ok": self.ok, "ng": self.ng, "in_flight": self.in_flight}
        fields |= {f"dropped:{reason}": count for reason, count in self.dropped.items()}
        fields |= {f"not_inspected:{reason}": count for reason, count in self.not_inspected.items()}
        return fields

    @classmethod
    def from_hash_fields(cls, fields: Mapping[str, int]) -> Ledger:
        """Read `as_hash_fields` back."""
        return cls(
            captured=fields.get("captured", 0),
            ok=fields.get("ok", 0),
            ng=fields.get("ng", 0),
            in_flight=fields.get("in_flight", 0),
            dropped=_of_kind("dropped:", fields),
            not_inspected=_of_kind("not_inspected:", fields),
        )


COUNTERS = ("captured", "ok", "ng", "in_flight")
CLOSED = "closed"
"""Field of a ledger whose run is over and whose frames are all accounted for: there `in_flight` is what it was."""
REASONED = ("dropped:", "not_inspected:")
_MOST_DIGITS = 18


def parse_counters(fields: Mapping[bytes, bytes]) -> tuple[dict[str, int], list[bytes]]:
    """The counters of a ledger hash in the store, and the names of fields that are none of its counters.

    No counters at all where `captured` is missing: then the hash is no ledger. In a closed ledger nothing is in flight.
    """
    found: dict[str, int] = {}
    foreign: list[bytes] = []
    for raw_name, value in fields.items():
        name = raw_name.decode(errors="replace")
        known = name in COUNTERS or (name.startswith(REASONED) and name.isascii() and name.isprintable())
        if known and value.isdigit() and len(value) <= _MOST_DIGITS:
            found[name] = int(value)
        elif name not in ("run_id", CLOSED):
            foreign.append(raw_name)
    if CLOSED.encode() in fields and "in_flight" in found:
        found["in_flight"] = 0
    return (found if "captured" in found else {}), foreign


def _of_kind(prefix: str, fields: Mapping[str, int]) -> dict[str, int]:
    return {name.removeprefix(prefix): count for name, count in fields.items() if name.startswith(prefix)}

"""Ids of runs: each start of a line has one of its own, and they sort by time."""

from __future__ import annotations

import secrets
import time
import uuid


def new_run_id() -> str:
    """A UUID of version 7 (RFC 9562, section 5.7): sorts by the time of its making, in ms."""
    milliseconds, noise = time.time_ns() // 1_000_000, secrets.randbits(76)
    low = (noise >> 64) << 64 | 0b10 << 62 | noise & (1 << 62) - 1
    return str(uuid.UUID(int=milliseconds << 80 | 7 << 76 | low))


def started_at_s(run_id: str) -> float:
    """When the run began, in seconds since the epoch: the first 48 bits of its id."""
    return (uuid.UUID(run_id).int >> 80) / 1000

"""The state that metrics and health are made from: one worker's, or a whole line's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from f2pnet.errors import F2pError
from pipeline.frames.ledger import Ledger
from pipeline.frames.ring import RingReader
from pipeline.wire.messages import Heartbeat


@dataclass(frozen=True)
class WorkerState:
    """One worker as its supervisor sees it."""

    name: str
    role: str
    state: str  # of the last heartbeat
    makes_progress: bool  # its loop turned within the time it may take
    restarts: int = 0
    detail: str | None = None
    device: str | None = None


@dataclass(frozen=True)
class Snapshot:
    """State at the moment of asking. `heartbeats` include the final counters of replaced processes."""

    line: str
    run_id: str | None
    workers: Sequence[WorkerState]
    heartbeats: Sequence[Heartbeat]
    ledgers: Mapping[str, Ledger] = field(default_factory=dict)


def ledger_in_memory(ring: str) -> Ledger | None:
    """The ledger in a camera's shared memory; None while it cannot be read, as before its ingest worker has made it."""
    try:
        reader = RingReader(ring)
    except F2pError:
        return None
    try:
        return reader.ledger
    except F2pError:
        return None
    finally:
        reader.close()

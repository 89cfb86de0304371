"""Faults on their way to the store: whoever notices one keeps it until the publish worker has stored it.

A message can be lost with the process that received it. So a fault is sent again until it is acknowledged; its event id
sees to it that it is stored once.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from f2pnet.text import printable
from pipeline.wire.messages import Fault, Message

KEPT = 1_000
SEND_AGAIN_S = 1.0
LONGEST_TEXT = 4_000


def new_fault(source: str, kind: str, text: str, *, camera_id: str | None = None, event_id: str | None = None) -> Fault:
    """A fault noticed now. `source`: the worker that says so; `event_id`: for one that may be noticed again."""
    return Fault(
        event_id=event_id or f"{source}/{kind}-{secrets.token_hex(6)}",
        at_ns=time.time_ns(),
        source=source,
        camera_id=camera_id,
        kind=kind,
        text=printable(text[:LONGEST_TEXT]),
    )


@dataclass
class _Kept:
    fault: Fault
    due_s: float = 0.0


class FaultOutbox:
    """Faults of one process. `send` gives a message to the publish worker; False: not now. For one thread."""

    def __init__(self, source: str, send: Callable[[Message], bool]) -> None:
        self._source = source
        self._send = send
        self._kept: dict[str, _Kept] = {}  # by event id, the oldest first
        self._beyond = 0  # faults that came while all places were taken

    def __len__(self) -> int:
        return len(self._kept) + (self._beyond > 0)

    def add(self, fault: Fault) -> None:
        """Keep a fault, and send it with the next `send_due`; one that is kept already changes nothing."""
        if fault.event_id in self._kept:
            return
        if len(self._kept) >= KEPT:
            self._beyond += 1
        else:
            self._kept[fault.event_id] = _Kept(fault)

    def acknowledged(self, event_ids: Iterable[str]) -> None:
        """These are stored."""
        for event_id in event_ids:
            self._kept.pop(event_id, None)
        if self._beyond and len(self._kept) < KEPT:
            text = f"{self._beyond} further faults of {self._source} came while {KEPT} waited to be stored"
            self._beyond = 0
            self.add(new_fault(self._source, "worker", text))

    def send_due(self) -> None:
        """Send what was not sent yet, or not acknowledged in time."""
        now_s = time.monotonic()
        for kept in self._kept.values():
            if now_s < kept.due_s:
                continue
            if not self._send(kept.fault):
                return
            kept.due_s = now_s + SEND_AGAIN_S

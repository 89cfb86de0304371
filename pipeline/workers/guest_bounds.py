"""How much of the store a host with a key of its own may fill: so many faults, and so many names of workers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

FAULTS_AT_ONCE = 200
FAULTS_PER_S = 1.0
NAMES = 64
"""Workers of one key whose heartbeats are kept: those that were heard of last."""
TELL_AGAIN_S = 600.0


@dataclass
class _Host:
    faults_left: float = FAULTS_AT_ONCE
    at_s: float = 0.0
    reported_s: float | None = None
    names: dict[str, None] = field(default_factory=dict)
    """The one that was heard of last is the last."""


class GuestBounds:
    """By public key. There are as many keys as the line lets in."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._hosts: dict[str, _Host] = {}

    def may_report(self, key: str) -> bool:
        """Whether one more fault of that host is stored now; else it keeps the fault, and sends it again later."""
        host, now_s = self._hosts.setdefault(key, _Host(at_s=self._clock())), self._clock()
        host.faults_left = min(FAULTS_AT_ONCE, host.faults_left + (now_s - host.at_s) * FAULTS_PER_S)
        host.at_s = now_s
        if host.faults_left < 1:
            return False
        host.faults_left -= 1
        return True

    def is_reported(self, key: str) -> bool:
        """Whether it was asked within the last minutes that somebody must know of the host's many faults."""
        host, now_s = self._hosts[key], self._clock()
        if host.reported_s is not None and now_s - host.reported_s < TELL_AGAIN_S:
            return True
        host.reported_s = now_s
        return False

    def heard_of(self, key: str, name: str) -> str | None:
        """A worker of that host gives a sign of life; the name of another one to be forgotten for it, if any."""
        names = self._hosts.setdefault(key, _Host(at_s=self._clock())).names
        names.pop(name, None)
        names[name] = None
        if len(names) <= NAMES:
            return None
        oldest = next(iter(names))
        del names[oldest]
        return oldest

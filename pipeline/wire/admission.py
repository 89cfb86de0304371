"""How many connections a port holds, and who has to go when there are too many. No I/O.

A connection is idle until its peer has shown what it wants: a request, or its key. Idle ones cost a stranger nothing,
so they are few for each address, have little time, and are closed to admit new ones: a port always answers others, and
its process keeps its descriptors. A connection that is served is never cut off for a new one.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Of one port."""

    connections: int
    of_one_address: int
    idle_of_one_address: int
    idle_s: float


@dataclass
class _Guest:
    address: str
    close: Callable[[], None]
    idle_since_s: float | None


class Admission:
    """The connections of one port, by keys that the caller chooses. For one thread, or under a lock."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self._clock = clock
        self._guests: dict[Hashable, _Guest] = {}
        self._of_address: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._guests)

    def admit(self, key: Hashable, address: str, close: Callable[[], None]) -> bool:
        """Whether a new connection may stay; an idle one may be closed to make room for it."""
        if len(self._idle_of(address)) >= self.limits.idle_of_one_address:
            self._evict_of(address)
        if self._of_address[address] >= self.limits.of_one_address and not self._evict_of(address):
            return False
        if len(self._guests) >= self.limits.connections and not self._evict():
            return False
        self._guests[key] = _Guest(address, close, self._clock())
        self._of_address[address] += 1
        return True

    def serve(self, key: Hashable) -> None:
        """It is not idle any more."""
        if guest := self._guests.get(key):
            guest.idle_since_s = None

    def idle(self, key: Hashable) -> None:
        """It was served, and may show what it wants next."""
        if guest := self._guests.get(key):
            guest.idle_since_s = self._clock()

    def gone(self, key: Hashable) -> None:
        """The connection is closed, by whoever it was."""
        guest = self._guests.pop(key, None)
        if guest is not None:
            self._of_address[guest.address] -= 1
            if not self._of_address[guest.address]:
                del self._of_address[guest.address]

    def close_overdue(self) -> None:
        """Close the connections that have been idle for too long."""
        latest_s = self._clock() - self.limits.idle_s
        for key, guest in [*self._guests.items()]:
            if guest.idle_since_s is not None and guest.idle_since_s <= latest_s:
                self._close(key)

    def _idle_of(self, address: str) -> list[Hashable]:
        guests = self._guests.items()
        return [key for key, guest in guests if guest.address == address and guest.idle_since_s is not None]

    def _evict_of(self, address: str) -> bool:
        """Close an idle connection of that address. A random one: who floods the port hits himself most of the time."""
        idle = self._idle_of(address)
        if idle:
            self._close(random.choice(idle))
        return bool(idle)

    def _evict(self) -> bool:
        """Close an idle connection of the address that has most of them."""
        idle = Counter(guest.address for guest in self._guests.values() if guest.idle_since_s is not None)
        return bool(idle) and self._evict_of(idle.most_common(1)[0][0])

    def _close(self, key: Hashable) -> None:
        close = self._guests[key].close
        self.gone(key)
        close()

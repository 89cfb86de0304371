"""Work that is repeated: whether it is due again."""

from __future__ import annotations

import time
from collections.abc import Callable


class Periodic:
    """Due at once, and again `every_s` seconds after each time that it was. For one thread."""

    def __init__(self, every_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.every_s = every_s
        self._clock = clock
        self._due_s = clock()

    def due(self) -> bool:
        """Whether to do the work now; the next time is counted from here."""
        if self._clock() < self._due_s:
            return False
        self.postpone()
        return True

    def postpone(self) -> None:
        """Not before a whole interval from now."""
        self._due_s = self._clock() + self.every_s

    def hurry(self) -> None:
        """Due at the next look."""
        self._due_s = self._clock()

    @property
    def in_s(self) -> float:
        """Seconds until it is due; 0 where it is."""
        return max(0.0, self._due_s - self._clock())

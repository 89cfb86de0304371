"""How long the engine takes for a batch of so many frames, learnt from its runs."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

WEIGHT_OF_THE_LATEST = 0.2


class BatchTimes:
    """Running means by batch size, in ms; `first_ms` are the first guesses, that for a single frame among them.

    A size that was not run, or not for long, is bounded by the others: it takes no longer than a greater batch, nor
    than several smaller ones in a row. So an estimate that became too long is mended by runs of any other size.
    """

    def __init__(self, first_ms: Mapping[int, float]) -> None:
        self._ms = dict(first_ms)

    def ran(self, size: int, ms: float) -> None:
        """A batch of `size` frames took `ms`."""
        known_ms = self._ms.get(size, ms)
        self._ms[size] = known_ms + WEIGHT_OF_THE_LATEST * (ms - known_ms)

    def of(self, size: int) -> float:
        """What `size` frames are expected to take, in as many batches as they need; 0 for none."""
        return min(ms * ceil(size / known) for known, ms in self._ms.items())

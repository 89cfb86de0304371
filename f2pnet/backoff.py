"""How long to wait between two tries: longer after each failure, up to a limit, and never in step with others."""

from __future__ import annotations

import random

GROWTH = 2.0
JITTER = 0.2  # of the delay, either way: clients of one server that came back must not knock in unison


class Backoff:
    """Delays in seconds that double from `first_s` up to `most_s`; `reset` after a success."""

    def __init__(self, first_s: float, most_s: float, rng: random.Random | None = None) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._rng = rng or random.Random()
        self._next_s = first_s

    def next_delay(self) -> float:
        """The delay after one more failure, jitter included; at most `most_s` times 1.2."""
        delay = self._next_s * self._rng.uniform(1 - JITTER, 1 + JITTER)
        self._next_s = min(self._next_s * GROWTH, self._most_s)
        return delay

    def reset(self) -> None:
        """It worked: the next failure is a first one again."""
        self._next_s = self._first_s

"""Latency percentiles in bounded memory: counts in buckets that grow by a fixed ratio."""

from __future__ import annotations

import bisect
import itertools
import math
from collections import Counter
from collections.abc import Iterable

from pipeline.wire.messages import LatencyCounts

SMALLEST_MS = 0.01
GROWTH = 1.02  # a percentile is at most 2 % above the true value
_LOG_GROWTH = math.log(GROWTH)
_LAST_BUCKET = 2_000  # ends at 1.6e15 ms: beyond any duration


class LatencyHistogram:
    """Milliseconds in, percentiles out. Histograms of several workers, or of one before and after a restart, add up."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._max_ms = 0.0
        self.sum_ms = 0.0

    def record(self, value_ms: float) -> None:
        """Count one duration; below 0.01 ms counts as 0.01 ms."""
        bucket = max(0, math.ceil(math.log(max(value_ms, SMALLEST_MS) / SMALLEST_MS) / _LOG_GROWTH))
        self._counts[bucket] += 1
        self._max_ms = max(self._max_ms, value_ms)
        self.sum_ms += value_ms

    def add(self, other: LatencyCounts) -> None:
        """Add another process's counts; what no histogram can hold is left out, since they come from a store."""
        self._counts.update({b: count for b, count in other.buckets if 0 <= b <= _LAST_BUCKET and count > 0})
        self._max_ms = max(self._max_ms, other.max_ms)
        self.sum_ms += other.sum_ms

    def counts(self) -> LatencyCounts:
        return LatencyCounts(sorted(self._counts.items()), self._max_ms, self.sum_ms)

    @property
    def count(self) -> int:
        return self._counts.total()

    def at_most(self, bounds_ms: Iterable[float]) -> list[int]:
        """For each bound, in rising order, how many durations lie in buckets that end at or below it."""
        buckets = sorted(self._counts)
        seen = [0, *itertools.accumulate(self._counts[bucket] for bucket in buckets)]
        ends_ms = [SMALLEST_MS * GROWTH**bucket for bucket in buckets]
        return [seen[bisect.bisect_right(ends_ms, bound)] for bound in bounds_ms]

    def percentile(self, share: float) -> float | None:
        """The duration that `share` (0..1) of all stayed within, in ms; None when nothing was recorded."""
        total = self._counts.total()
        if total == 0:
            return None
        buckets = sorted(self._counts)
        seen = itertools.accumulate(self._counts[bucket] for bucket in buckets)
        bucket = next(b for b, count in zip(buckets, seen, strict=True) if count >= share * total)
        return min(self._max_ms, SMALLEST_MS * GROWTH**bucket)

    def summary(self) -> dict[str, float | None]:
        """Rounded percentiles as the summary file has them."""
        shares = {"p50": 0.5, "p99": 0.99, "p999": 0.999, "max": 1.0}
        values = {name: self.percentile(share) for name, share in shares.items()}
        return {name: None if value is None else round(value, 3) for name, value in values.items()}

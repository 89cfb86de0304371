"""Frames at a steady rate: an absolute schedule, so that small delays do not add up."""

from __future__ import annotations

import time
from collections.abc import Callable

LATEST_S = 1.0  # whoever comes later than this was away; the schedule then begins anew instead of catching up


class Pacer:
    """Says when the next frame is due. `fps` None: always now."""

    def __init__(
        self,
        fps: float | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._period_s = 0.0 if fps is None else 1 / fps
        self._clock = clock
        self._sleep = sleep
        self._anchor_s = clock()
        self._frames = 0

    def wait(self, timeout_s: float) -> float | None:
        """Wait until the next frame is due: how late it is, in s; None when it is not due within `timeout_s`."""
        if self._period_s == 0:
            return 0.0
        late_s = self._lateness_s()
        if late_s < 0:
            self._sleep(min(-late_s, timeout_s))
            if -late_s > timeout_s:
                return None
            late_s = max(0.0, self._lateness_s())
        if late_s > LATEST_S:
            self._anchor_s, self._frames, late_s = self._clock(), 0, 0.0
        self._frames += 1
        return late_s

    def _lateness_s(self) -> float:
        return self._clock() - (self._anchor_s + self._frames * self._period_s)

"""When a network camera took a picture, by our clock."""

from __future__ import annotations

DRIFT = 1e-4  # camera clocks run up to 100 ppm off ours
LONGEST_DELAY_S = 10.0  # a difference beyond this is a jump of the camera's clock, not a slow network


class StreamClock:
    """Turns presentation times of a stream (s, own zero) into UTC ns.

    The network only ever adds delay, so the least difference between arrival and presentation time seen so far is the
    best guess of the offset between the clocks. It may grow by `DRIFT`, so that it follows a camera's slow clock.
    A picture is never dated after its arrival.
    """

    def __init__(self) -> None:
        self._offset_s: float | None = None
        self._last_pts_s = 0.0

    def captured_at_ns(self, pts_s: float, arrival_ns: int) -> int:
        """UTC ns at which the picture with presentation time `pts_s`, arrived at `arrival_ns` (UTC), was taken."""
        offset_s = arrival_ns / 1e9 - pts_s
        passed_s = pts_s - self._last_pts_s
        if self._offset_s is None or passed_s < 0 or offset_s - self._offset_s > LONGEST_DELAY_S:
            self._offset_s = offset_s
        else:
            self._offset_s = min(offset_s, self._offset_s + DRIFT * passed_s)
        self._last_pts_s = pts_s
        return arrival_ns - max(0, round((offset_s - self._offset_s) * 1e9))

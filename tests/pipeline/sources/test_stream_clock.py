"""Capture times of network video."""

from __future__ import annotations

import numpy as np

from pipeline.sources.stream_clock import StreamClock

START_NS = 1_700_000_000_000_000_000


def _arrivals_ns(taken_s: np.ndarray, delays_s: np.ndarray) -> list[int]:
    return [START_NS + round((taken + delay) * 1e9) for taken, delay in zip(taken_s, delays_s, strict=True)]


def test_jitter_of_the_network_does_not_move_capture_times() -> None:
    clock = StreamClock()
    taken_s = np.arange(300) / 30
    delays_s = 0.020 + np.random.default_rng(1).exponential(0.030, 300)
    delays_s[::20] = 0.020

    dated_ns = [clock.captured_at_ns(t, a) for t, a in zip(taken_s, _arrivals_ns(taken_s, delays_s), strict=True)]

    errors_s = (np.array(dated_ns) - START_NS) / 1e9 - taken_s - 0.020
    assert np.abs(errors_s[21:]).max() < 0.001


def test_slow_camera_clock_is_followed() -> None:
    clock = StreamClock()
    taken_s = np.arange(0, 36_000, 1.0)
    arrivals_ns = _arrivals_ns(taken_s, np.full(len(taken_s), 0.02))

    dated_ns = [clock.captured_at_ns(t * (1 - 5e-5), a) for t, a in zip(taken_s, arrivals_ns, strict=True)]

    assert arrivals_ns[-1] - dated_ns[-1] < 1_000_000  # uncorrected it would be 1.8 s


def test_fast_camera_clock_is_followed() -> None:
    clock = StreamClock()
    taken_s = np.arange(0, 36_000, 1.0)
    arrivals_ns = _arrivals_ns(taken_s, np.full(len(taken_s), 0.02))

    dated_ns = [clock.captured_at_ns(t * (1 + 5e-5), a) for t, a in zip(taken_s, arrivals_ns, strict=True)]

    assert all(dated <= arrival for dated, arrival in zip(dated_ns, arrivals_ns, strict=True))
    assert arrivals_ns[-1] - dated_ns[-1] < 1_000_000


def test_restarted_camera_clock_is_taken_up_anew() -> None:
    clock = StreamClock()
    clock.captured_at_ns(1000.0, START_NS)

    assert clock.captured_at_ns(0.0, START_NS + 40_000_000) == START_NS + 40_000_000


def test_clock_that_jumps_ahead_does_not_date_into_the_future() -> None:
    clock = StreamClock()
    clock.captured_at_ns(0.0, START_NS)

    assert clock.captured_at_ns(5000.0, START_NS + 40_000_000) == START_NS + 40_000_000
    assert clock.captured_at_ns(5000.04, START_NS + 80_000_000) == START_NS + 80_000_000

"""Frames at a steady rate."""

from __future__ import annotations

import pytest

from pipeline.sources.pacing import LATEST_S, Pacer


class HandClock:
    """A clock that moves only when somebody sleeps, or by hand."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def test_slow_reader_does_not_shift_the_schedule(clock: HandClock) -> None:
    pacer = Pacer(10, clock, clock.sleep)
    for _ in range(50):
        assert pacer.wait(1.0) is not None
        clock.now_s += 0.04  # reading and decoding

    assert clock.now_s == pytest.approx(100 + 49 * 0.1 + 0.04)


def test_frame_that_is_not_due_in_time_is_not_given(clock: HandClock) -> None:
    pacer = Pacer(1, clock, clock.sleep)
    pacer.wait(1.0)

    assert pacer.wait(0.25) is None
    assert clock.now_s == pytest.approx(100.25)
    assert pacer.wait(0.8) == pytest.approx(0, abs=1e-9)
    assert clock.now_s == pytest.approx(101)


def test_lateness_is_told(clock: HandClock) -> None:
    pacer = Pacer(10, clock, clock.sleep)
    pacer.wait(1.0)
    clock.now_s += 0.35

    assert pacer.wait(1.0) == pytest.approx(0.25)


def test_whoever_was_away_gets_no_burst(clock: HandClock) -> None:
    pacer = Pacer(10, clock, clock.sleep)
    pacer.wait(1.0)
    clock.now_s += LATEST_S + 60

    assert pacer.wait(1.0) == 0
    before_s = clock.now_s
    pacer.wait(1.0)
    assert clock.now_s - before_s == pytest.approx(0.1)


def test_without_a_rate_every_frame_is_due(clock: HandClock) -> None:
    pacer = Pacer(None, clock, clock.sleep)

    assert [pacer.wait(1.0) for _ in range(3)] == [0, 0, 0]
    assert clock.now_s == 100

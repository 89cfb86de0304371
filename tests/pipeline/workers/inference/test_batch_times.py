"""What a batch is expected to take."""

from __future__ import annotations

import pytest

from pipeline.workers.inference.batch_times import BatchTimes


def test_before_the_first_run_frames_are_expected_to_take_their_time_one_after_the_other() -> None:
    assert [BatchTimes({1: 5.0}).of(size) for size in (0, 1, 4)] == [0.0, 5.0, 20.0]


def test_a_size_that_ran_is_known_and_bounds_the_others() -> None:
    times = BatchTimes({1: 10.0})
    times.ran(4, 12.0)
    assert times.of(4) == 12.0
    assert times.of(2) == 12.0  # no longer than the greater batch
    assert times.of(9) == 36.0  # three batches of four


def test_the_mean_follows_the_engine_both_ways() -> None:
    times = BatchTimes({1: 10.0})
    for ms in (100.0, 10.0):
        for _ in range(40):
            times.ran(1, ms)
        assert times.of(1) == pytest.approx(ms, rel=0.05)


def test_one_slow_first_run_does_not_stay_in_the_estimate_of_a_size_that_is_never_run_again() -> None:
    times = BatchTimes({1: 1_000.0})
    for _ in range(10):
        times.ran(8, 40.0)
    assert times.of(1) == 40.0

"""Percentiles against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.workers.latency import GROWTH, LatencyHistogram


def test_percentiles_are_within_a_bucket_of_numpy_s() -> None:
    values = np.random.default_rng(1).lognormal(2, 1, 5000)
    histogram = LatencyHistogram()
    for value in values:
        histogram.record(float(value))
    for share in (0.5, 0.9, 0.99, 0.999):
        wanted = float(np.quantile(values, share, method="inverted_cdf"))
        found = histogram.percentile(share)
        assert found is not None
        assert wanted <= found <= wanted * GROWTH * 1.0001
    assert histogram.percentile(1.0) == pytest.approx(values.max())


def test_two_histograms_add_up_to_the_one_of_all_values() -> None:
    first, second, both = LatencyHistogram(), LatencyHistogram(), LatencyHistogram()
    for n in range(1, 200):
        (first if n % 3 else second).record(n)
        both.record(n)
    first.add(second.counts())
    assert first.counts() == both.counts()


def test_nothing_recorded_has_no_percentile() -> None:
    assert LatencyHistogram().summary() == {"p50": None, "p99": None, "p999": None, "max": None}

"""Confidence intervals by drawing parts again: images of one part are not independent, so they are drawn together.

B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993: percentile intervals.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from training.score.image_stats import ImageStats
from training.score.sheet_figures import weighted_figures

RESAMPLES = 1000
AT_ONCE = 200  # resamples whose histograms are in memory together
LEVEL = 0.95
SEED = 0


def intervals(stats: ImageStats, part_ids: Sequence[str], *, frames: bool = True) -> dict[str, list[float]]:
    """[low, high] of each figure at 95 %; nothing where there are fewer than two parts."""
    if len(set(part_ids)) < 2:
        return {}
    drawn = [weighted_figures(stats, weights, frames=frames) for weights in _weights(part_ids)]
    edges = [50 * (1 - LEVEL), 50 * (1 + LEVEL)]
    found = {}
    for name in drawn[0]:
        values = np.concatenate([figures[name] for figures in drawn])
        values = values[~np.isnan(values)]
        if len(values):
            found[name] = [float(edge) for edge in np.percentile(values, edges)]
    return found


def _weights(part_ids: Sequence[str]) -> Iterator[NDArray[np.float64]]:
    """How often each image is drawn, (AT_ONCE, N) at a time: as many parts as there are, with replacement."""
    parts, part_of_image = np.unique(part_ids, return_inverse=True)
    rng = np.random.default_rng(SEED)
    for start in range(0, RESAMPLES, AT_ONCE):
        rows = min(AT_ONCE, RESAMPLES - start)
        draws = rng.multinomial(len(parts), np.full(len(parts), 1 / len(parts)), size=rows)
        yield draws[:, part_of_image].astype(float)

"""Pixel average precision from histograms, which add up over images where the pixels themselves would not fit."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

BINS = 1 << 14
"""Of equal width in the logit, since a trained network puts most pixels very close to 0 or 1. Pixels of a bin count as
ties."""
LARGEST_LOGIT = 17.0  # of a single-precision probability below 1

Histograms = NDArray[np.uint32]


def pixel_histograms(probabilities: NDArray[np.float32], mask: NDArray[np.uint8]) -> Histograms:
    """Pixels by probability, (2, BINS): of the background, of the defects.

    `probabilities` (H, W) in 0..1, `mask` (H, W; 0 or 1).
    """
    if probabilities.shape != mask.shape:
        raise ValueError(f"probabilities are {probabilities.shape}, the mask {mask.shape}: wanted the same")
    with np.errstate(divide="ignore"):
        logits = np.log(probabilities) - np.log1p(-probabilities)
    share = np.clip(logits, -LARGEST_LOGIT, LARGEST_LOGIT) / (2 * LARGEST_LOGIT) + 0.5
    places = np.minimum((share * BINS).astype(np.int64), BINS - 1) + BINS * (mask > 0)
    return np.bincount(places.ravel(), minlength=2 * BINS).reshape(2, BINS).astype(np.uint32)


def average_precision(histograms: ArrayLike) -> NDArray[np.float64]:
    """Sum over falling thresholds of precision x gain in recall, (R,) of (R, 2, bins); NaN without defect pixels.

    The definition of scikit-learn's `average_precision_score`, without interpolation.
    """
    background, defect = np.moveaxis(np.asarray(histograms, float)[:, :, ::-1], 1, 0)
    hits = np.cumsum(defect, axis=1)
    found = np.maximum(hits + np.cumsum(background, axis=1), 1e-12)
    with np.errstate(invalid="ignore"):
        return np.asarray((defect * hits / found).sum(axis=1) / hits[:, -1])

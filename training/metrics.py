"""Metrics: pure functions that check, count and compute. The same ones serve validation, `f2p test` and the tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Counts:
    """A 2 x 2 confusion matrix, of pixels or of images; counts of several images add up (pooled figures)."""

    tp: int = 0
    fp: int = 0
    fn: int = 0
    tn: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)

    @property
    def iou(self) -> float:
        """TP / (TP + FP + FN); 1 where there is nothing to find and nothing was found."""
        return _ratio(self.tp, self.tp + self.fp + self.fn)

    @property
    def precision(self) -> float:
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def false_reject_rate(self) -> float:
        """Share of the good ones that were rejected; 0 where there are no good ones."""
        return self.fp / (self.fp + self.tn) if self.fp + self.tn else 0.0


def count(found: ArrayLike, truth: ArrayLike) -> Counts:
    """Compare two arrays of truth values of the same shape."""
    found, truth = np.asarray(found, bool), np.asarray(truth, bool)
    if found.shape != truth.shape:
        raise ValueError(f"found has shape {found.shape}, truth {truth.shape}: wanted the same")
    tp = int(np.count_nonzero(found & truth))
    fp = int(np.count_nonzero(found)) - tp
    fn = int(np.count_nonzero(truth)) - tp
    return Counts(tp, fp, fn, found.size - tp - fp - fn)


def roc_auc(scores: ArrayLike, labels: ArrayLike) -> float | None:
    """Chance that a defective image scores above a good one (ties count half); None where one kind is missing."""
    scores, labels = np.asarray(scores, float), np.asarray(labels, bool)
    defective, good = int(labels.sum()), int((~labels).sum())
    if not defective or not good:
        return None
    values, position = np.unique(scores, return_inverse=True)
    per_value = np.bincount(position, minlength=len(values))
    mean_rank = np.cumsum(per_value) - (per_value - 1) / 2
    rank_sum = float(mean_rank[position][labels].sum())
    return (rank_sum - defective * (defective + 1) / 2) / (defective * good)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 1.0

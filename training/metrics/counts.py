"""Metrics: pure functions that check, count and compute. The same ones serve validation, `f2p test` and the tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


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
    labels = np.asarray(labels, bool)
    if not labels.any() or labels.all():
        return None
    return float(roc_aucs(scores, labels, np.ones((1, len(labels))))[0])


def roc_aucs(scores: ArrayLike, labels: ArrayLike, weights: ArrayLike) -> NDArray[np.float64]:
    """`roc_auc` under each row of `weights` (R, N); NaN in rows where a kind has no weight."""
    groups = _by_score(scores, labels, weights)
    below = np.cumsum(groups.good, axis=1) - groups.good
    won = (groups.defective * (below + groups.good / 2)).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray(won / (groups.defective.sum(axis=1) * groups.good.sum(axis=1)))


@dataclass(frozen=True)
class Tradeoff:
    """What rejecting at and above each of T thresholds does, under R weightings: rates (R, T), thresholds falling."""

    thresholds: NDArray[np.float64]
    false_reject_rate: NDArray[np.float64]
    escape_rate: NDArray[np.float64]


def tradeoff(scores: ArrayLike, labels: ArrayLike, weights: ArrayLike) -> Tradeoff:
    """Escapes against false rejects as the threshold falls through the scores; the first threshold rejects nothing.

    An image scored below 0 is passed at every threshold. Rates are NaN where a kind has no weight.
    """
    groups = _by_score(scores, labels, weights)
    reachable = groups.values >= 0
    nothing = np.zeros((len(groups.good), 1))
    with np.errstate(invalid="ignore"):
        rejected, caught = (
            np.hstack([nothing, np.cumsum(part[:, reachable][:, ::-1], axis=1)]) / part.sum(axis=1, keepdims=True)
            for part in (groups.good, groups.defective)
        )
    return Tradeoff(np.append(np.inf, groups.values[reachable][::-1]), rejected, 1 - caught)


def recall_at(curve: Tradeoff, false_reject_rate: float) -> NDArray[np.float64]:
    """Highest recall (R,) of the thresholds that reject at most this share of the good images."""
    allowed = curve.false_reject_rate <= false_reject_rate + 1e-12
    best = np.where(allowed, 1 - curve.escape_rate, 0.0).max(axis=1)
    return np.where(np.isnan(curve.false_reject_rate[:, 0]), np.nan, best)


@dataclass(frozen=True)
class _Groups:
    """Distinct scores rising (G,), and the weight of the good and defective images that have each (R, G)."""

    values: NDArray[np.float64]
    good: NDArray[np.float64]
    defective: NDArray[np.float64]


def _by_score(scores: ArrayLike, labels: ArrayLike, weights: ArrayLike) -> _Groups:
    scores, labels, weights = np.asarray(scores, float), np.asarray(labels, bool), np.asarray(weights, float)
    if scores.shape != labels.shape or weights.shape[1:] != scores.shape:
        raise ValueError(f"scores {scores.shape}, labels {labels.shape}, weights {weights.shape}: wanted N, N, (R, N)")
    order = np.argsort(scores, kind="stable")
    values, starts = np.unique(scores[order], return_index=True)
    good, defective = (np.add.reduceat(weights[:, order] * kind[order], starts, axis=1) for kind in (~labels, labels))
    return _Groups(values, good, defective)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 1.0

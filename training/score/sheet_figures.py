"""The figures of a score sheet from the statistics of its images, under any weighting of the images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.metrics.counts import recall_at, roc_aucs, tradeoff
from training.metrics.pixel_ap import BINS, average_precision
from training.score.image_stats import ImageStats

ALLOWED_FALSE_REJECTS = 0.05
JOINED = 8

Weights = NDArray[np.float64]
Figures = dict[str, NDArray[np.float64]]


def weighted_figures(stats: ImageStats, weights: Weights, *, frames: bool = True) -> Figures:
    """Each figure under each of R weightings (R, N) of the images: name -> (R,), NaN where a resample can't have it.

    Names and meaning: docs/evaluation.md. Without `frames` there are no figures of verdicts and image scores: an
    oracle prompt gives away which images are defective.
    """
    figures = _pixel_figures(stats, weights) | _object_figures(stats, weights)
    return figures | (_frame_figures(stats, weights) if frames else {})


def plain_figures(stats: ImageStats, *, frames: bool = True) -> dict[str, float]:
    """The figures of the images as they are; those that the images can't have are left out."""
    figures = weighted_figures(stats, np.ones((1, len(stats))), frames=frames)
    return {name: float(value[0]) for name, value in figures.items() if not np.isnan(value[0])}


def _pixel_figures(stats: ImageStats, weights: Weights) -> Figures:
    tp, fp, fn, tn = (weights @ stats.pixels).T
    iou, background_iou = _ratio(tp, tp + fp + fn), _ratio(tn, tn + fp + fn)
    precision, recall = _ratio(tp, tp + fp), _ratio(tp, tp + fn)
    both, either = (weights @ stats.boundaries).T
    figures = {
        "iou": iou,
        "precision": precision,
        "recall": recall,
        "f1": _ratio(2 * tp, 2 * tp + fp + fn),
        "mean_iou": (iou + background_iou) / 2,
        "boundary_iou": _ratio(both, either),
    }
    if stats.labels.any():
        figures["iou_per_image"] = _mean(_image_ious(stats), weights * stats.labels)
        figures["pixel_ap"] = average_precision(_pooled_histograms(stats, weights))
    return figures | {"PxR": precision * recall}


def _object_figures(stats: ImageStats, weights: Weights) -> Figures:
    objects, hit, alarms = np.array([[len(o.hit), o.hit.sum(), o.false_alarms] for o in stats.objects], float).T
    figures = {"false_alarms_per_image": _mean(alarms, weights)}
    if objects.any():
        with np.errstate(invalid="ignore"):
            figures["object_recall"] = (weights @ hit) / (weights @ objects)
    return figures


def _frame_figures(stats: ImageStats, weights: Weights) -> Figures:
    """Of the verdicts at the shipped thresholds, and of the ways to move them."""
    defective, good = weights * stats.labels, weights * ~stats.labels
    figures: Figures = {}
    if stats.labels.any():
        recall = _mean(stats.rejected, defective)
        figures |= {"frame_recall": recall, "escape_rate": 1 - recall}
    if not stats.labels.all():
        rejected = weights @ stats.rejected
        figures["frame_precision"] = _ratio(defective @ stats.rejected, rejected)
        figures["false_reject_rate"] = _mean(stats.rejected, good)
    if stats.labels.any() and not stats.labels.all():
        figures["image_auroc"] = roc_aucs(stats.score, stats.labels, weights)
        for name, decision in (("by_score", stats.by_score), ("by_map", stats.by_map)):
            curve = tradeoff(decision, stats.labels, weights)
            figures[f"recall_at_fr05_{name}"] = recall_at(curve, ALLOWED_FALSE_REJECTS)
    return figures


def _image_ious(stats: ImageStats) -> NDArray[np.float64]:
    tp, fp, fn, _ = stats.pixels.T
    return _ratio(tp.astype(float), (tp + fp + fn).astype(float))


def _pooled_histograms(stats: ImageStats, weights: Weights) -> NDArray[np.float64]:
    """(R, 2, bins). One weighting is summed exactly; for the many of an interval JOINED bins become one."""
    rows = stats.histograms
    if len(weights) > 1:
        rows = rows.reshape(len(stats), 2, BINS // JOINED, JOINED).sum(axis=3)
    pooled = weights @ rows.reshape(len(stats), -1).astype(float)
    return np.asarray(pooled.reshape(len(weights), 2, -1))


def _mean(values: NDArray[Any], weights: Weights) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        return np.asarray((weights @ values) / weights.sum(axis=1))


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """As `training.metrics.counts.Counts`: 1 where there is nothing to find and nothing was found."""
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), 1.0)

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import jaccard_score, precision_score, recall_score, roc_auc_score, roc_curve

from training.metrics.counts import Counts, count, recall_at, roc_auc, roc_aucs, tradeoff

RNG = np.random.default_rng(0)


def loop_counts(found: np.ndarray, truth: np.ndarray) -> tuple[int, int, int, int]:
    """Pixel by pixel, as slow as it is plain."""
    tp = fp = fn = tn = 0
    for f, t in zip(found.ravel(), truth.ravel(), strict=True):
        tp, fp, fn, tn = tp + (f and t), fp + (f and not t), fn + (t and not f), tn + (not f and not t)
    return tp, fp, fn, tn


def test_counts_agree_with_a_loop_over_pixels() -> None:
    found, truth = RNG.random((2, 40, 30)) > 0.6
    counts = count(found, truth)
    assert (counts.tp, counts.fp, counts.fn, counts.tn) == loop_counts(found, truth)


def test_ratios_agree_with_scikit_learn() -> None:
    found, truth = RNG.random((2, 500)) > 0.7
    counts = count(found, truth)
    assert counts.iou == pytest.approx(jaccard_score(truth, found))
    assert counts.precision == pytest.approx(precision_score(truth, found))
    assert counts.recall == pytest.approx(recall_score(truth, found))


def test_pooled_counts_are_those_of_all_pixels_together() -> None:
    found, truth = RNG.random((2, 5, 20)) > 0.5
    pooled = sum((count(f, t) for f, t in zip(found, truth, strict=True)), Counts())
    assert pooled == count(found, truth)


def test_nothing_to_find_and_nothing_found_is_perfect() -> None:
    counts = count(np.zeros(9, bool), np.zeros(9, bool))
    assert (counts.iou, counts.recall, counts.false_reject_rate) == (1.0, 1.0, 0.0)


def test_false_reject_rate_is_the_share_of_good_ones() -> None:
    assert count([1, 0, 0, 0, 1], [0, 0, 0, 0, 1]).false_reject_rate == 0.25


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        count(np.zeros(4), np.zeros(5))


@pytest.mark.parametrize("decimals", [1, 8])  # one decimal makes many ties
def test_roc_auc_agrees_with_scikit_learn(decimals: int) -> None:
    labels = RNG.random(300) > 0.6
    scores = np.round(RNG.random(300) + 0.3 * labels, decimals)
    assert roc_auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores))


def test_roc_auc_needs_both_kinds() -> None:
    assert roc_auc([0.1, 0.2], [1, 1]) is None


def test_weighted_roc_auc_is_that_of_the_repeated_images() -> None:
    labels = RNG.random(40) > 0.5
    scores = np.round(RNG.random(40), 1)
    weights = RNG.integers(0, 4, (3, 40))
    repeated = [roc_auc_score(np.repeat(labels, row), np.repeat(scores, row)) for row in weights]
    assert roc_aucs(scores, labels, weights) == pytest.approx(repeated)


def test_the_tradeoff_is_the_roc_curve_of_scikit_learn() -> None:
    labels = RNG.random(60) > 0.5
    scores = np.round(RNG.random(60), 1)
    curve = tradeoff(scores, labels, np.ones((1, 60)))
    false_rejects, recall, thresholds = roc_curve(labels, scores, drop_intermediate=False)
    assert curve.thresholds == pytest.approx(thresholds)
    assert curve.false_reject_rate[0] == pytest.approx(false_rejects)
    assert 1 - curve.escape_rate[0] == pytest.approx(recall)


def test_an_image_scored_below_zero_escapes_at_every_threshold() -> None:
    curve = tradeoff([-1, 0.2, 0.4, 0.6], [1, 0, 1, 0], np.ones((1, 4)))
    assert curve.escape_rate.min() == 0.5


def test_recall_is_read_at_the_last_threshold_that_is_allowed() -> None:
    scores, labels = [0.9, 0.8, 0.7, 0.6, 0.5], [1, 0, 1, 0, 1]
    curve = tradeoff(scores, labels, np.ones((1, 5)))
    assert [recall_at(curve, limit)[0] for limit in (0, 0.5, 1)] == pytest.approx([1 / 3, 2 / 3, 1])

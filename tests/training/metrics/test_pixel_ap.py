from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from training.metrics.pixel_ap import average_precision, pixel_histograms

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("sharpness", [1, 8])  # 8: most probabilities lie very close to 0 or 1, as a trained network's
def test_average_precision_agrees_with_scikit_learn(sharpness: float) -> None:
    mask = (RNG.random((120, 90)) > 0.9).astype(np.uint8)
    logits = sharpness * RNG.normal(mask * 1.5 - 1, 1)
    probabilities = (1 / (1 + np.exp(-logits))).astype(np.float32)
    ours = average_precision(pixel_histograms(probabilities, mask)[None])[0]
    assert ours == pytest.approx(average_precision_score(mask.ravel(), probabilities.ravel()), abs=1e-3)


def test_histograms_of_two_images_add_up_to_those_of_both() -> None:
    probabilities = RNG.random((2, 30, 30), np.float32)
    masks = (RNG.random((2, 30, 30)) > 0.5).astype(np.uint8)
    together = pixel_histograms(probabilities.reshape(60, 30), masks.reshape(60, 30))
    assert np.array_equal(together, sum(pixel_histograms(p, m) for p, m in zip(probabilities, masks, strict=True)))


def test_without_a_defect_there_is_no_average_precision() -> None:
    histograms = pixel_histograms(np.full((4, 4), 0.5, np.float32), np.zeros((4, 4), np.uint8))
    assert np.isnan(average_precision(histograms[None])[0])


def test_sizes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="the mask"):
        pixel_histograms(np.zeros((4, 4), np.float32), np.zeros((4, 5), np.uint8))

from __future__ import annotations

import numpy as np
import pytest

from f2pnet.engine.bundle import Thresholds
from tests.training.verdicts import verdict_counts
from training.metrics.evaluate import Predicted, predict
from training.metrics.thresholds import Choice, Validated, choose_thresholds

SIDE = 32


def answers(defect_level: float, clutter_level: float, scores: tuple[float, float]) -> Validated:
    """Ten images, every second with a 10 x 10 defect; all show a 3 x 3 spot of clutter. Probabilities as given."""
    maps = np.full((10, SIDE, SIDE), 0.05, np.float32)
    masks = [np.zeros((SIDE, SIDE), np.uint8) for _ in range(10)]
    maps[:, 25:28, 25:28] = clutter_level
    for number in range(1, 10, 2):
        maps[number, 5:15, 5:15] = defect_level
        masks[number][5:15, 5:15] = 1
    labels = [number % 2 for number in range(10)]
    score = np.array([scores[label] for label in labels], np.float32)
    return Validated(Predicted(maps, np.zeros_like(maps), score), masks, labels)


def test_the_map_and_threshold_that_part_defect_from_clutter_are_chosen() -> None:
    choice = choose_thresholds({"a": answers(defect_level=0.62, clutter_level=0.48, scores=(0.5, 0.5))})
    assert choice.defect_output == "mask"
    assert 0.48 < choice.thresholds.pixel <= 0.62


def test_the_score_gate_passes_good_frames_whose_map_is_cluttered() -> None:
    sheet = answers(defect_level=0.6, clutter_level=0.9, scores=(0.3, 0.7))
    choice = choose_thresholds({"a": sheet})
    counts = verdict_counts(sheet, choice)
    assert (counts.tp, counts.fp, counts.fn, counts.tn) == (5, 0, 0, 5)


def test_a_small_area_is_ignored_when_the_choice_says_so() -> None:
    sheet = answers(defect_level=0.6, clutter_level=0.9, scores=(0.5, 0.5))
    lax, strict = (verdict_counts(sheet, Choice("mask", Thresholds(pixel=0.5, min_area_px=area))) for area in (0, 10))
    assert (lax.fp, strict.fp) == (5, 0)
    assert lax.tp == strict.tp == 5


def test_without_good_images_there_is_no_gate() -> None:
    sheet = answers(0.6, 0.1, (0.5, 0.5))
    defective = [number for number in range(10) if number % 2]
    maps = sheet.predicted
    only = Validated(
        Predicted(maps.mask[defective], maps.pixel_map[defective], maps.score[defective]),
        [sheet.masks[number] for number in defective],
        [1] * 5,
    )
    limits = choose_thresholds({"a": only}).thresholds
    assert (limits.score, limits.min_area_px) == (0.0, 0)


@pytest.mark.parametrize("count", [1, 5, 7])
def test_images_are_predicted_in_order_whatever_the_batch(count: int) -> None:
    def brightness(pixels: np.ndarray) -> dict[str, np.ndarray]:
        grey = pixels[..., 0].astype(np.float32) / 255
        return {"mask": grey, "pixel_map": grey, "score": grey.max((1, 2))}

    images = [np.full((4, 4, 1), value, np.uint8) for value in range(count)]
    predicted = predict(brightness, images, batch=3)
    assert np.allclose(predicted.score * 255, np.arange(count))

"""Overlays show people what the result says."""

from __future__ import annotations

import numpy as np
import pytest

from f2pnet.inspection.overlay import MIN_SIDE_PX, STRIP_PX, draw_overlay
from f2pnet.inspection.result import Defect, InspectionResult, Verdict


def result_with(*boxes: tuple[int, int, int, int]) -> InspectionResult:
    defects = [
        Defect(
            class_name="scratch",
            score=0.9,
            severity="critical",
            bbox_px=box,
            area_px=box[2] * box[3],
            area_mm2=None,
            polygon_px=[],
        )
        for box in boxes
    ]
    return InspectionResult(verdict=Verdict.NG if boxes else Verdict.OK, score=0.9, defects=defects)


@pytest.mark.parametrize("shape", [(100, 150), (100, 150, 3), (600, 400, 3), (1, 1)])
def test_every_picture_becomes_a_colored_one_that_is_large_enough(shape: tuple[int, ...]) -> None:
    overlay = draw_overlay(np.zeros(shape, np.uint8), result_with(), np.zeros(shape[:2], np.uint8))

    assert overlay.ndim == 3
    assert min(overlay.shape[0] - STRIP_PX, overlay.shape[1]) >= MIN_SIDE_PX


def test_a_long_strip_is_not_enlarged_beyond_reason() -> None:
    overlay = draw_overlay(np.zeros((3, 2000), np.uint8), result_with(), np.zeros((3, 2000), np.uint8))

    assert overlay.shape == (6 + STRIP_PX, 4000, 3)


def test_without_defects_the_picture_itself_is_untouched() -> None:
    image = np.random.default_rng(0).integers(0, 256, (400, 500, 3), dtype=np.uint8)

    overlay = draw_overlay(image, result_with(), np.zeros((400, 500), np.uint8))

    np.testing.assert_array_equal(overlay[STRIP_PX:], image)


def test_the_outline_has_the_color_of_the_severity_and_leaves_the_inside_alone() -> None:
    image, mask = np.full((400, 400), 128, np.uint8), np.zeros((400, 400), np.uint8)
    mask[200:260, 100:180] = 255

    overlay = draw_overlay(image, result_with((100, 200, 80, 60)), mask)[STRIP_PX:]

    blue, green, red = overlay[230, 100].tolist()  # on the left border
    assert red > 200 > 100 > max(blue, green)
    assert overlay[230, 140].tolist() == [128, 128, 128]


@pytest.mark.parametrize("box", [(0, 0, 9, 9), (391, 391, 9, 9), (0, 391, 400, 9), (200, 0, 9, 400)])
def test_labels_stay_inside_the_picture(box: tuple[int, int, int, int]) -> None:
    x, y, width, height = box
    mask = np.zeros((400, 400), np.uint8)
    mask[y : y + height, x : x + width] = 255
    image = np.full((400, 400), 128, np.uint8)

    labelled = draw_overlay(image, result_with(box), mask)
    unlabelled = draw_overlay(image, result_with(), mask)

    rows, columns = np.nonzero((labelled != unlabelled).any(axis=2)[STRIP_PX:])
    assert np.ptp(rows) >= 8
    assert np.ptp(columns) >= 60


def test_the_callers_image_is_left_alone() -> None:
    image = np.full((500, 500, 3), 128, np.uint8)
    mask = np.full((500, 500), 255, np.uint8)

    draw_overlay(image, result_with((0, 0, 500, 500)), mask)

    assert (image == 128).all()

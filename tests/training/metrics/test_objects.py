from __future__ import annotations

import numpy as np

from f2pnet.inspection.regions import regions
from training.metrics.objects import Objects, match_objects

SIDE = 64


def squares(*places: tuple[int, int, int]) -> np.ndarray:
    """Squares given as row, column, side."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for row, column, side in places:
        mask[row : row + side, column : column + side] = 1
    return mask


def match(found: np.ndarray, truth: np.ndarray) -> Objects:
    return match_objects(regions(found, 1), truth)


def test_a_defect_is_hit_from_an_overlap_of_a_tenth() -> None:
    truth = squares((0, 0, 10))
    assert match(squares((0, 0, 4)), truth).hit.tolist() == [True]  # 16 / 100
    assert match(squares((0, 0, 3)), truth).hit.tolist() == [False]  # 9 / 100
    assert match(squares((0, 0, 32)), truth).hit.tolist() == [False]  # 100 / 1024


def test_a_scratch_found_in_pieces_is_found() -> None:
    truth = np.zeros((SIDE, SIDE), np.uint8)
    truth[30, :60] = 1
    found = truth.copy()
    found[30, ::8] = 0
    judged = match(found, truth)
    assert judged.hit.tolist() == [True]
    assert judged.false_alarms == 0
    assert judged.found_px.tolist() == [found.sum()]


def test_one_region_over_two_defects_hits_both() -> None:
    truth = squares((0, 0, 10), (0, 12, 10))
    judged = match(squares((0, 0, 22)) & np.pad(np.ones((10, SIDE), np.uint8), ((0, SIDE - 10), (0, 0))), truth)
    assert judged.hit.tolist() == [True, True]
    assert judged.area_px.tolist() == [100, 100]


def test_regions_on_good_surface_are_false_alarms() -> None:
    judged = match(squares((0, 0, 5), (40, 40, 10), (20, 20, 3)), squares((0, 0, 10)))
    assert judged.hit.tolist() == [True]
    assert judged.false_alarms == 2


def test_a_region_that_grazes_a_defect_is_a_false_alarm() -> None:
    assert match(squares((9, 9, 20)), squares((0, 0, 10))).false_alarms == 1


def test_a_good_image_has_no_objects() -> None:
    judged = match(squares(), squares())
    assert (len(judged.hit), judged.false_alarms) == (0, 0)

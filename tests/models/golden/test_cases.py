"""The prompts of a golden folder, checked against the coordinates and labels of its page."""

from __future__ import annotations

from models.decoders.prompts import BOTTOM_RIGHT, PADDING, POSITIVE, TOP_LEFT
from models.golden.cases import prompts_of


def test_coordinates_are_scaled_to_the_network_and_rounded() -> None:
    """Picture B: 630 x 230; the rounded values are those that its golden file stores."""
    case = {"points": [[[110, 200], [112, 240]]], "labels": [[1, 1]]}

    asked = prompts_of(case, size=(630, 230), image_size=1024, map_size=256)

    assert asked.points is not None
    assert asked.points.tolist() == [[[490, 325], [499, 390]]]
    assert asked.prompts is not None
    assert asked.prompts.labels.tolist() == [[[POSITIVE, POSITIVE, PADDING]]]


def test_points_stand_before_the_corners_of_their_box() -> None:
    case = {"boxes": [[131, 125, 149, 175]], "points": [[[140, 150]]], "labels": [[1]]}

    asked = prompts_of(case, size=(1024, 1024), image_size=1024, map_size=256)

    assert asked.prompts is not None
    assert asked.prompts.labels.tolist() == [[[POSITIVE, TOP_LEFT, BOTTOM_RIGHT]]]
    assert asked.prompts.points.tolist() == [[[[140, 150], [131, 125], [149, 175]]]]


def test_masks_may_come_with_boxes_or_alone() -> None:
    ellipse = {"mask_ellipses": [[77, 90, 23, 38]]}

    alone = prompts_of(ellipse, (200, 200), 1024, 256).prompts
    with_box = prompts_of(ellipse | {"boxes": [[0, 0, 10, 10]]}, (200, 200), 1024, 256).prompts

    assert alone is not None
    assert with_box is not None
    assert alone.labels.shape == (1, 1, 0)
    assert with_box.labels.shape == (1, 1, 2)
    assert with_box.masks is not None
    assert with_box.masks[0, 0, 0, 77, 90] == 1


def test_a_case_without_prompts_has_none() -> None:
    assert prompts_of({}, (200, 200), 1024, 256).prompts is None

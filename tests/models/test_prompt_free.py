from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.decoders.prompts import ABSENT, BOTTOM_RIGHT, PADDING, POSITIVE, TOP_LEFT
from models.prompt_free import NOTHING, mask_prompt, peak_points, tile_boxes, union

IMAGE, MAP = 128, 32


def map_with(*spots: tuple[int, int, float]) -> Tensor:
    """A pixel map (1, 1, 32, 32) of low logits with spots (row, column, logit) on it."""
    logits = torch.full((1, 1, MAP, MAP), -5.0)
    for row, column, logit in spots:
        logits[0, 0, row, column] = logit
    return logits


def test_the_cascade_feeds_the_map_back_as_bounded_logits() -> None:
    prompts, valid = mask_prompt(map_with((3, 4, 50.0), (5, 6, -50.0)))

    assert prompts.masks is not None
    assert prompts.masks.shape == (1, 1, 1, MAP, MAP)
    assert (prompts.masks[0, 0, 0, 3, 4], prompts.masks[0, 0, 0, 5, 6]) == (10.0, -10.0)
    assert valid.tolist() == [[True]]


def test_points_are_the_highest_local_maxima_in_network_pixels() -> None:
    """A map pixel is 4 network pixels wide; its centre lies 1.5 pixels after its first."""
    shoulder, lower, highest = (10, 21, 3.0), (25, 5, 2.0), (10, 20, 4.0)

    prompts, valid = peak_points(map_with(shoulder, lower, highest), IMAGE, count=3, threshold=0.5)

    assert prompts.points[0, :2, 0].tolist() == [[81.5, 41.5], [21.5, 101.5]]
    assert valid.tolist() == [[True, True, False]]
    assert prompts.labels[0].tolist() == [[POSITIVE, PADDING], [POSITIVE, PADDING], [ABSENT, ABSENT]]


def test_boxes_enclose_what_lies_above_the_threshold_in_each_tile() -> None:
    in_first = [(2, 3, 1.0), (7, 9, 1.0)]
    in_last = [(30, 31, 1.0)]
    below_threshold = [(20, 2, -0.1)]

    prompts, valid = tile_boxes(map_with(*in_first, *in_last, *below_threshold), IMAGE, tiles=2, threshold=0.5)

    assert valid.tolist() == [[True, False, False, True]]
    assert prompts.points[0, 0].tolist() == [[12, 8], [40, 32]]
    assert prompts.points[0, 3].tolist() == [[124, 120], [128, 124]]
    assert prompts.labels[0, 0].tolist() == [TOP_LEFT, BOTTOM_RIGHT]
    assert prompts.labels[0, 1].tolist() == [ABSENT, ABSENT]


@pytest.mark.parametrize("tiles", [1, 2, 4])
def test_boxes_agree_with_a_loop_over_pixels(tiles: int) -> None:
    logits = torch.randn(2, 1, MAP, MAP) - 2.5
    tile = MAP // tiles

    prompts, valid = tile_boxes(logits, IMAGE, tiles, threshold=0.5)

    for image in range(2):
        for slot in range(tiles * tiles):
            y, x = slot // tiles * tile, slot % tiles * tile
            found = (logits[image, 0, y : y + tile, x : x + tile] > 0).nonzero().tolist()
            assert bool(valid[image, slot]) == bool(found)
            if found:
                rows, columns = [y + r for r, _ in found], [x + c for _, c in found]
                expected = [[4 * min(columns), 4 * min(rows)], [4 * max(columns) + 4, 4 * max(rows) + 4]]
                assert prompts.points[image, slot].tolist() == expected


def test_tiles_that_do_not_divide_the_map_are_refused() -> None:
    with pytest.raises(ValueError, match=r"tiles is 5.*divide the map size 32"):
        tile_boxes(map_with(), IMAGE, tiles=5, threshold=0.5)


def test_the_union_takes_valid_masks_only() -> None:
    masks = torch.tensor([[1.0, 9.0, 3.0], [5.0, 5.0, 5.0]])[:, :, None, None].expand(2, 3, 2, 2)
    valid = torch.tensor([[True, False, True], [False, False, False]])

    both = union(masks, valid)

    assert both[0].eq(3.0).all()
    assert both[1].eq(NOTHING).all()

from __future__ import annotations

import numpy as np
import pytest

from training.metrics.boundaries import boundary, boundary_overlap

RNG = np.random.default_rng(0)


def near_the_edge(mask: np.ndarray) -> np.ndarray:
    """Pixel by pixel: of the mask, with something that is not of the mask within reach, the outside included."""
    height, width = mask.shape
    reach = max(1, round(0.02 * (height**2 + width**2) ** 0.5))
    near = np.zeros(mask.shape, bool)
    for y, x in np.argwhere(mask):
        inside = reach <= y < height - reach and reach <= x < width - reach
        around = mask[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
        near[y, x] = not inside or not around.all()
    return near


def blobs(shape: tuple[int, int]) -> np.ndarray:
    rows, columns = np.indices(shape)
    centres = RNG.uniform(0, 1, (4, 2)) * shape
    return np.any([(rows - y) ** 2 + (columns - x) ** 2 < 15**2 for y, x in centres], axis=0).astype(np.uint8)


@pytest.mark.parametrize("shape", [(60, 80), (150, 110), (20, 30)])  # reach of 2, 4 and 1 px
def test_the_boundary_is_what_lies_within_two_percent_of_the_diagonal_of_an_edge(shape: tuple[int, int]) -> None:
    mask = blobs(shape)
    assert np.array_equal(boundary(mask), near_the_edge(mask))


def test_overlap_counts_pixels_of_both_boundaries_and_of_either() -> None:
    found, truth = blobs((60, 80)), blobs((60, 80))
    ours, true = near_the_edge(found), near_the_edge(truth)
    assert boundary_overlap(found, truth) == ((ours & true).sum(), (ours | true).sum())


def test_masks_of_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        boundary_overlap(np.zeros((4, 4), np.uint8), np.zeros((4, 5), np.uint8))

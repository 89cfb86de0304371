"""Regions are measured exactly and outlined within a bound; the expected values come from loops in NumPy."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from f2pnet.inspection.regions import MAX_OUTLINE_POINTS, MAX_REGIONS, outline, regions


def flood_fill_areas(binary: NDArray[np.uint8]) -> list[int]:
    """Areas of the 8-connected regions, by the plainest search there is."""
    left = {(int(y), int(x)) for y, x in np.argwhere(binary)}
    areas = []
    while left:
        todo = [left.pop()]
        area = 0
        while todo:
            y, x = todo.pop()
            area += 1
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            todo += near
        areas.append(area)
    return sorted(areas)


@pytest.mark.parametrize("density", [0.05, 0.3, 0.5, 0.9])
def test_areas_equal_those_of_a_flood_fill(density: float) -> None:
    binary = (np.random.default_rng(7).random((61, 83)) < density).astype(np.uint8)

    assert sorted(region.area_px for region in regions(binary, 0)) == flood_fill_areas(binary)


def test_a_region_knows_its_place_and_shape() -> None:
    binary = np.zeros((40, 50), np.uint8)
    cv2.circle(binary, (30, 20), 6, 1, -1)

    (region,) = regions(binary, 0)

    assert region.bbox_px == (24, 14, 13, 13)
    np.testing.assert_array_equal(region.pixels, binary[region.slices].astype(bool))


def test_an_island_inside_a_ring_is_a_region_of_its_own() -> None:
    binary = np.zeros((40, 40), np.uint8)
    cv2.circle(binary, (20, 20), 15, 1, 2)
    binary[20, 20] = 1

    assert min(region.area_px for region in regions(binary, 0)) == 1
    assert len(regions(binary, 2)) == 1


def test_the_largest_regions_come_first_and_their_number_is_bounded() -> None:
    binary = np.zeros((200, 200), np.uint8)
    binary[::4, ::4] = 1
    binary[100:110, 100:110] = 1

    found = regions(binary, 0)

    assert len(found) == MAX_REGIONS
    assert found[0].area_px == 100
    assert [region.area_px for region in found[1:]] == [1] * (MAX_REGIONS - 1)


def test_an_empty_map_has_no_regions() -> None:
    assert regions(np.zeros((8, 8), np.uint8), 0) == []


def test_a_single_pixel_has_an_outline_of_one_point() -> None:
    binary = np.zeros((8, 8), np.uint8)
    binary[3, 5] = 1

    (region,) = regions(binary, 1)

    assert (region.area_px, outline(region)) == (1, [(5, 3)])


def test_an_outline_redraws_its_region() -> None:
    binary = np.zeros((100, 100), np.uint8)
    cv2.ellipse(binary, (50, 40), (30, 14), 20, 0, 360, 1, -1)

    (region,) = regions(binary, 0)
    redrawn = np.zeros_like(binary)
    cv2.fillPoly(redrawn, [np.array(outline(region), np.int32)], 1)

    overlap = (redrawn & binary).sum() / (redrawn | binary).sum()
    assert overlap > 0.95


def test_a_ragged_outline_is_bounded() -> None:
    binary = np.zeros((400, 400), np.uint8)
    binary[200, :] = 1
    binary[::2, ::4] = 1
    binary[1::2, ::4] = 1  # a comb of a hundred teeth, up and down

    (region,) = regions(binary, 0)

    assert 3 <= len(outline(region)) <= MAX_OUTLINE_POINTS

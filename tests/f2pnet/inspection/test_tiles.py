"""Tiles cover every pixel, and their maps come together as one."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from f2pnet.inspection.recipe import Tiles
from f2pnet.inspection.tiles import View, Window, merge, window_above, windows


def view(window: Window, values: np.ndarray, class_map: np.ndarray | None = None) -> View:
    return View(window, 0.5, values.astype(np.float32), None if class_map is None else class_map.astype(np.float32))


@pytest.mark.parametrize("width", [64, 65, 100, 119, 120, 121, 640, 1920])
@pytest.mark.parametrize("height", [10, 64, 97, 1080])
@pytest.mark.parametrize("overlap", [0, 8, 32])
def test_tiles_cover_the_frame_inside_it_with_the_overlap_asked_for(width: int, height: int, overlap: int) -> None:
    pieces = windows(width, height, Tiles(size_px=64, overlap_px=overlap))

    covered = np.zeros((height, width), int)
    for piece in pieces:
        assert piece.x >= 0
        assert piece.y >= 0
        assert covered[piece.slices].shape == (min(64, height), min(64, width))
        covered[piece.slices] += 1
    assert covered.min() >= 1
    starts = sorted({piece.x for piece in pieces})
    assert all(right - left <= 64 - overlap for left, right in pairwise(starts))


def test_a_frame_of_one_tile_is_one_tile() -> None:
    assert windows(64, 64, Tiles(size_px=64, overlap_px=16)) == [Window(0, 0, 64, 64)]


def test_without_tiles_the_frame_is_one_window() -> None:
    assert windows(1920, 1080, None) == [Window(0, 0, 1920, 1080)]


def test_where_tiles_overlap_the_higher_probability_holds() -> None:
    left, right = Window(0, 0, 4, 2), Window(2, 0, 4, 2)

    merged = merge([view(left, np.full((2, 4), 0.2)), view(right, np.full((2, 4), 0.7))], Window(0, 0, 6, 2))

    np.testing.assert_allclose(merged.probability[0], [0.2, 0.2, 0.7, 0.7, 0.7, 0.7])
    assert merged.classes is None


def test_the_class_comes_from_the_view_that_is_surer_of_the_defect() -> None:
    first = np.stack([np.full((2, 4), 0.9), np.full((2, 4), 0.1)])
    left = view(Window(0, 0, 4, 2), np.full((2, 4), 0.2), first)
    right = view(Window(2, 0, 4, 2), np.full((2, 4), 0.7), first[::-1])

    merged = merge([left, right], Window(0, 0, 6, 2))

    assert merged.classes is not None
    assert merged.classes[0].tolist() == [0, 0, 1, 1, 1, 1]


def test_what_no_view_covers_is_no_defect() -> None:
    merged = merge([view(Window(4, 0, 2, 2), np.full((2, 2), 0.7))], Window(0, 0, 6, 2))

    np.testing.assert_allclose(merged.probability[1], [0, 0, 0, 0, 0.7, 0.7])


def test_a_small_map_is_stretched_with_half_pixel_centres() -> None:
    merged = merge([view(Window(0, 0, 4, 1), np.array([[0.0, 1.0]]))], Window(0, 0, 4, 1))

    # Source pixel centres 0.5, 1.5, 2.5, 3.5 lie at -0.25, 0.25, 0.75, 1.25 between the two cells.
    np.testing.assert_allclose(merged.probability[0], [0.0, 0.25, 0.75, 1.0])


SIZES = st.integers(1, 97) | st.sampled_from([64, 128, 480, 640, 1080, 1920])


CELLS = st.integers(1, 20) | st.sampled_from([32, 64, 128])


@st.composite
def maps(draw: st.DrawFn) -> Any:
    """A map with a few high cells, and a limit."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    values = rng.random((draw(CELLS), draw(CELLS))).astype(np.float32)
    limit = draw(st.sampled_from([0.5, 0.9, 0.99, float(values.max())]))
    return values ** draw(st.sampled_from([1, 8])), limit


@settings(deadline=None, max_examples=300)
@given(maps(), SIZES, SIZES)
def test_a_map_is_enlarged_as_opencv_does(drawn: Any, width: int, height: int) -> None:
    values, _ = drawn
    likeliest = (255 * values).astype(np.uint8)
    merged = merge([view(Window(0, 0, width, height), values, likeliest[None])], Window(0, 0, width, height))

    assert np.array_equal(merged.probability, cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR))


@settings(deadline=None, max_examples=300)
@given(maps(), SIZES, SIZES)
def test_classes_are_enlarged_exactly_as_opencv_does(drawn: Any, width: int, height: int) -> None:
    values, _ = drawn
    numbers = (values * 9).astype(np.uint8)
    class_map = (np.arange(9)[:, None, None] == numbers).astype(np.float32)
    merged = merge([view(Window(0, 0, width, height), values + 0.1, class_map)], Window(0, 0, width, height))

    likeliest = class_map.argmax(axis=0).astype(np.uint8)
    wanted = cv2.resize(likeliest, (width, height), interpolation=cv2.INTER_NEAREST)
    assert merged.classes is not None
    assert np.array_equal(merged.classes, wanted)


@settings(deadline=None, max_examples=300)
@given(maps(), maps(), SIZES, SIZES, st.integers(0, 30))
def test_the_part_around_high_cells_holds_all_that_the_whole_frame_does_bit_for_bit(
    first: Any, second: Any, width: int, height: int, shift: int
) -> None:
    (values, limit), (others, _) = first, second
    views = [view(Window(0, 0, width, height), values), view(Window(shift, shift, width, height), others)]
    whole = merge(views, Window(0, 0, width + shift, height + shift)).probability
    part = window_above(views, limit)

    above = whole >= limit
    if part is None:
        assert not above.any()
        return
    assert np.array_equal(merge(views, part).probability, whole[part.slices])
    above[part.slices] = False
    assert not above.any()

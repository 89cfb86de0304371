"""What the network is fed: RGB, square, averaged where the frame shrinks."""

from __future__ import annotations

import numpy as np
import pytest

from f2pnet.pictures.preprocess import covered, fit, uncovered


def test_blue_green_red_becomes_red_green_blue() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    image[:] = (10, 20, 30)

    assert fit(image, 4)[0, 0].tolist() == [30, 20, 10]


def test_grey_is_repeated() -> None:
    assert fit(np.full((4, 6), 77, np.uint8), 8)[3, 3].tolist() == [77, 77, 77]


def test_shrinking_averages_whole_blocks() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 64, 3), dtype=np.uint8)

    blocks = image.reshape(8, 4, 8, 8, 3).mean(axis=(1, 3))[:, :, ::-1]

    assert np.abs(fit(image, 8) - blocks).max() <= 0.5 + 1e-6


def test_growing_is_bilinear_with_half_pixel_centres() -> None:
    image = np.array([[0, 200], [0, 200]], np.uint8)

    assert fit(image, 4)[0, :, 0].tolist() == [0, 50, 150, 200]


def test_the_result_lands_in_the_slot_given() -> None:
    batch = np.zeros((2, 8, 8, 3), np.uint8)

    fit(np.full((20, 20, 3), 9, np.uint8), 8, out=batch[1])

    assert (batch[0].max(), batch[1].min()) == (0, 9)


@pytest.mark.parametrize("size", [(8, 8), (16, 16), (4, 32)])
def test_the_callers_image_is_left_alone(size: tuple[int, int]) -> None:
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    before = image.copy()

    fit(image, 8)

    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize(
    ("shape", "rows_and_columns"),
    [
        ((100, 200), (32, 64)),
        ((200, 100), (64, 32)),
        ((64, 64), (64, 64)),
        ((10, 640), (4, 64)),
        ((222, 301), (48, 64)),
    ],
)
def test_a_letterbox_keeps_the_aspect_ratio_to_four_pixels(
    shape: tuple[int, int], rows_and_columns: tuple[int, int]
) -> None:
    assert covered(shape, 64, "letterbox") == rows_and_columns
    assert covered(shape, 64, "stretch") == (64, 64)


def test_a_letterbox_holds_the_resized_image_and_the_networks_mean_beside_it() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 32, 3), dtype=np.uint8)

    square = fit(image, 16, resize="letterbox")

    blocks = image.reshape(16, 4, 8, 4, 3).mean(axis=(1, 3))[:, :, ::-1]
    assert np.abs(square[:, :8] - blocks).max() <= 0.5 + 1e-6
    assert (square[:, 8:] == (124, 116, 104)).all()


def test_a_letterbox_overwrites_what_its_slot_held_before() -> None:
    slot = np.full((16, 16, 3), 255, np.uint8)

    fit(np.zeros((32, 8), np.uint8), 16, slot, "letterbox")

    assert (slot[:, :4] == 0).all()
    assert (slot[:, 4:] == (124, 116, 104)).all()


def test_a_map_loses_what_lies_beside_the_image() -> None:
    values = np.arange(16 * 16, dtype=np.float32).reshape(1, 16, 16)

    assert np.array_equal(uncovered(values, (100, 200), 64, "letterbox"), values[:, :8])
    assert np.array_equal(uncovered(values, (100, 200), 64, "stretch"), values)

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from f2pnet.errors import ConfigError
from training.data.records import Record, read_records
from training.score.trivial import dihedral, fill_boxes, find_otsu, otsu_in_boxes, thumbnail, trivial_answers

RNG = np.random.default_rng(0)


def dark_cross() -> tuple[np.ndarray, np.ndarray]:
    """A dark cross on bright noise, and its mask."""
    mask = np.zeros((40, 40), np.uint8)
    mask[10:30, 18:22] = mask[18:22, 10:30] = 1
    return (RNG.normal(180, 3, mask.shape) - 120 * mask).astype(np.uint8), mask


def test_otsu_takes_the_rarer_grey_be_it_dark_or_bright() -> None:
    image, mask = dark_cross()
    assert np.array_equal(find_otsu(image, mask), mask)
    assert np.array_equal(find_otsu(255 - image, mask), mask)


def test_boxes_are_filled_or_parted_at_their_border() -> None:
    image, mask = dark_cross()
    assert fill_boxes(image, mask).sum() == 400
    assert np.array_equal(otsu_in_boxes(image, mask), mask)


def test_a_picture_has_eight_turns_and_flips() -> None:
    assert len({variant.tobytes() for variant in dihedral(np.arange(9, dtype=np.uint8).reshape(3, 3))}) == 8


def test_a_thumbnail_forgets_light_and_contrast() -> None:
    image = RNG.integers(0, 120, (60, 50), np.uint8)
    assert thumbnail(image) @ thumbnail(2 * image + 10) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("turn", range(8))
def test_the_twin_s_mask_is_turned_as_the_twin_is(spots: Path, tmp_path: Path, turn: int) -> None:
    training = read_records(spots, "train.json")
    source = training[5]
    assert source.mask
    image = list(dihedral(cv2.imread(str(source.image), cv2.IMREAD_GRAYSCALE)))[turn]
    mask = list(dihedral(cv2.imread(str(source.mask), cv2.IMREAD_GRAYSCALE)))[turn]
    cv2.imwrite(str(tmp_path / "image.png"), image)
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    turned = Record("t", tmp_path / "image.png", tmp_path / "mask.png", 1, "spot", "p", "spots")
    found = trivial_answers("twin", [turned], training).predicted
    assert np.array_equal(found.mask[0] > 0.5, mask > 0)
    assert found.score[0] == 1


def test_a_twin_needs_training_images(spots: Path) -> None:
    with pytest.raises(ConfigError, match="twin"):
        trivial_answers("twin", read_records(spots, "test.json"), [])

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from f2pnet.errors import ConfigError
from training.data.images import fit_image, fit_mask, load_images, read_pair
from training.data.masks import foreground
from training.data.records import read_records


def test_every_class_index_above_zero_is_foreground() -> None:
    mask = np.array([[0, 1, 2, 3]], np.uint8)
    assert foreground(mask).tolist() == [[0, 1, 1, 1]]


def test_grey_masks_count_from_half_on() -> None:
    mask = np.array([[0, 127, 128, 255]], np.uint8)
    assert foreground(mask).tolist() == [[0, 0, 1, 1]]


def test_an_all_zero_mask_has_no_foreground() -> None:
    assert not foreground(np.zeros((3, 3), np.uint8)).any()


def test_a_good_image_without_a_mask_file_gets_an_empty_mask(spots: Path) -> None:
    image, mask = read_pair(read_records(spots, "train.json")[0])
    assert image.shape == mask.shape == (64, 64)
    assert not mask.any()


def test_grey_pictures_keep_one_channel_and_coloured_ones_turn_from_bgr_to_rgb() -> None:
    grey = np.full((20, 30), 9, np.uint8)
    colour = np.zeros((20, 30, 3), np.uint8)
    colour[:, :, 0] = 200  # blue, as OpenCV orders channels
    assert fit_image(grey, 8).shape == (8, 8, 1)
    assert fit_image(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), 8).shape == (8, 8, 1)
    assert fit_image(colour, 8)[0, 0].tolist() == [0, 0, 200]


def test_a_hairline_survives_shrinking() -> None:
    mask = np.zeros((512, 512), np.uint8)
    mask[:, 100] = 1
    assert fit_mask(mask, 256).sum() == 256


def test_all_unusable_images_are_told_at_once(spots: Path) -> None:
    records = read_records(spots, "train.json")
    (spots / "images/0.png").write_bytes(b"no picture")
    cv2.imwrite(str(spots / "masks/1.png"), np.zeros((64, 64), np.uint8))
    cv2.imwrite(str(spots / "masks/3.png"), np.full((10, 10), 255, np.uint8))
    with pytest.raises(ConfigError) as caught:
        load_images(records, 32)
    message = str(caught.value)
    for told in (
        "3 of 16",
        "not one picture of a kind that is read",
        "empty mask, and '1' is labelled defective",
        "(10, 10)",
    ):
        assert told in message


def test_images_and_masks_come_at_the_networks_size(spots: Path) -> None:
    images = load_images([replace(r) for r in read_records(spots, "train.json")], 32)
    assert len(images) == 16
    assert {image.shape for image in images.images} == {(32, 32, 1)}
    assert {int(mask.max()) for mask in images.masks} == {0, 1}

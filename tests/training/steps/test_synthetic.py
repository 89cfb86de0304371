from __future__ import annotations

import numpy as np
import pytest

from training.data.images import ImageSet, load_images
from training.data.records import read_records
from training.recipe import Augmentation, TrainingRecipe
from training.steps.batches import draw_batch, draw_weights, step_generator
from training.steps.synthetic import DefectDonors, cut_defect, draw_defect, paste

STILL = {"flips": False, "scale": 0, "aspect": 0, "shift": 0, "exposure": 0, "contrast": 0, "shading": 0, "noise": 0,
         "blur_px": 0}  # fmt: skip


@pytest.fixture
def images(tiny_recipe: TrainingRecipe) -> ImageSet:
    return load_images(read_records(tiny_recipe.datasets[0].path, "train.json"), 64)


def test_a_cut_defect_is_its_light_against_what_lies_around_it() -> None:
    image, mask = np.full((64, 64, 1), 150, np.uint8), np.zeros((64, 64), np.uint8)
    mask[20:28, 30:35] = 1
    image[20:28, 30:35] = 90
    light, own = cut_defect(image, mask, np.random.default_rng(0)) or (None, None)
    assert own is not None
    assert own.sum() == 40
    assert light is not None
    assert set(light[own > 0]) == {-60.0}
    assert set(light[own == 0]) == {0.0}


def test_a_defect_that_fills_the_picture_is_not_cut() -> None:
    whole = np.ones((64, 64), np.uint8)
    assert cut_defect(np.full((64, 64, 1), 150, np.uint8), whole, np.random.default_rng(0)) is None


@pytest.mark.parametrize("seed", range(12))
def test_a_drawn_defect_is_seen_where_its_mask_says_and_nowhere_far_from_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    grey = np.full((96, 96, 1), 128, np.uint8)
    light, drawn = draw_defect(96, rng)
    spoiled, mask = paste(grey, light, drawn, rng)
    changed = np.abs(spoiled[:, :, 0].astype(int) - 128)
    assert mask.any()
    assert changed[mask > 0].mean() > 3
    rows, columns = np.nonzero(changed)
    of_mask = np.nonzero(mask)
    for seen, true in zip((rows, columns), of_mask, strict=True):
        assert seen.min() >= true.min() - 4
        assert seen.max() <= true.max() + 4


def test_good_images_get_defects_as_often_as_asked_and_defective_ones_stay(images: ImageSet) -> None:
    chances = draw_weights(images, 1.0, None)
    batch = draw_batch(images, chances, 40, Augmentation(**STILL, synthetic=1.0), step_generator(1, 0, 0))
    plain = draw_batch(images, chances, 40, Augmentation(**STILL), step_generator(1, 0, 0))
    was_defective = plain.labels == 1
    assert 0 < was_defective.sum() < 40
    assert batch.labels.min() == 1
    assert batch.images[was_defective].equal(plain.images[was_defective])


def test_a_defect_comes_from_the_same_data_set(images: ImageSet) -> None:
    """With no donor of its own set, a good image gets a drawn defect, never one of another product."""
    good = next(i for i, record in enumerate(images.records) if not record.label)
    lonely = ImageSet([images.records[good]], [images.images[good]], [images.masks[good]], [images.filled[good]])
    image, mask = DefectDonors(lonely).spoil(0, np.random.default_rng(0))
    assert mask.any()
    assert image.shape == images.images[good].shape

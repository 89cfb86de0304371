from __future__ import annotations

import numpy as np
import pytest

from training.data.images import ImageSet, load_images
from training.data.records import read_records
from training.recipe import Augmentation, TrainingRecipe
from training.steps.batches import as_batch, draw_batch, draw_weights, step_generator


@pytest.fixture
def images(tiny_recipe: TrainingRecipe) -> ImageSet:
    return load_images(read_records(tiny_recipe.datasets[0].path, "train.json"), 32)


def test_a_batch_is_a_function_of_seed_and_step(images: ImageSet) -> None:
    chances = draw_weights(images, 1.0, None)
    first, again, other = (
        draw_batch(images, chances, 4, Augmentation(), step_generator(1, step, 0)) for step in (3, 3, 4)
    )
    assert first.images.equal(again.images)
    assert first.masks.equal(again.masks)
    assert not first.images.equal(other.images)


def test_defective_images_are_drawn_as_often_as_asked(images: ImageSet) -> None:
    chances = draw_weights(images, 0.5, 0.8)
    labels = np.array([record.label for record in images.records])
    assert chances.sum() == pytest.approx(0.5)
    assert chances[labels == 1].sum() == pytest.approx(0.4)


def test_a_label_follows_the_mask_that_is_left_in_the_picture() -> None:
    picture, empty, full = np.zeros((8, 8, 1), np.uint8), np.zeros((8, 8), np.uint8), np.ones((8, 8), np.uint8)
    batch = as_batch([picture, picture], [empty, full])
    assert batch.images.shape == (2, 3, 8, 8)
    assert batch.labels.tolist() == [0, 1]

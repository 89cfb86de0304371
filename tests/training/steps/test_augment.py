from __future__ import annotations

import numpy as np
import pytest

from training.recipe import Augmentation
from training.steps.augment import augment, move, placement, relight

STILL = Augmentation(flips=False, scale=0, aspect=0, shift=0, exposure=0, contrast=0, shading=0, noise=0, blur_px=0)


def picture(channels: int = 1) -> np.ndarray:
    return np.random.default_rng(0).integers(40, 200, (48, 48, channels), np.uint8)


def test_no_change_asked_for_is_no_change() -> None:
    mask = (picture()[:, :, 0] > 120).astype(np.uint8)
    image, moved, _ = augment(picture(), mask, STILL, np.random.default_rng(1))
    assert np.array_equal(image, picture())
    assert np.array_equal(moved, mask)


@pytest.mark.parametrize("channels", [1, 3])
def test_turns_and_flips_move_image_and_mask_alike(channels: int) -> None:
    change = STILL.model_copy(update={"flips": True, "turns": True})
    mask = (picture()[:, :, 0] > 120).astype(np.uint8)
    image = np.repeat(mask[:, :, None] * np.uint8(255), channels, axis=2)
    dihedral = [np.rot90(flipped, k) for flipped in (mask, mask[:, ::-1]) for k in range(4)]
    seen = set()
    for seed in range(40):
        moved_image, moved_mask = move(image, mask, placement(48, change, np.random.default_rng(seed)), 48)
        assert np.array_equal(moved_image[:, :, 0] // 255, moved_mask)
        seen.add(next(k for k, turned in enumerate(dihedral) if np.array_equal(turned, moved_mask)))
    assert seen == set(range(8))


def test_a_shift_shows_no_black_border() -> None:
    change = STILL.model_copy(update={"shift": 0.3})
    zero, where = np.zeros((48, 48), np.uint8), placement(48, change, np.random.default_rng(3))
    image, _ = move(np.full((48, 48, 1), 90, np.uint8), zero, where, 48)
    assert (image == 90).all()


def test_light_changes_stay_in_range_and_leave_dark_pictures_readable() -> None:
    dark = np.full((48, 48, 1), 10, np.uint8)
    dark[20:30, 20:30] = 20
    for seed in range(20):
        lit = relight(dark, Augmentation(noise=0), np.random.default_rng(seed))
        assert lit.dtype == np.uint8
        assert lit[22:28, 22:28].mean() > lit[:10, :10].mean()


def test_the_same_generator_state_gives_the_same_copy() -> None:
    mask = np.zeros((48, 48), np.uint8)
    first, second = (augment(picture(), mask, Augmentation(), np.random.default_rng(7))[0] for _ in range(2))
    assert np.array_equal(first, second)

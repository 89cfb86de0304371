"""Surfaces that repeat without a seam."""

from __future__ import annotations

import numpy as np
import pytest

from f2pnet.config.sources import TEXTURES, TextureName
from pipeline.sources.conveyor.textures import blur, make_surface, periodic_noise, to_bytes


@pytest.mark.parametrize("texture", TEXTURES)
def test_tiles_join_themselves_without_a_seam(texture: TextureName) -> None:
    surface = make_surface(texture, np.random.default_rng(4), (360, 300), (256, 240), 0.7)

    for tile in (surface.grain.astype(float), surface.mottle.astype(float)):
        for axis in (0, 1):
            steps = np.abs(tile - np.roll(tile, 1, axis)).mean(1 - axis)  # mean step over each line, the seam first
            assert steps[0] < steps[1:].mean() + 6 * steps[1:].std()


@pytest.mark.parametrize("texture", TEXTURES)
def test_brightness_leaves_room_for_light_and_defects(texture: TextureName) -> None:
    for seed in range(20):
        surface = make_surface(texture, np.random.default_rng(seed), (200, 200), (128, 128), 0.5)
        assert surface.grain.min() > 60
        assert surface.grain.max() < 215
        assert surface.grain.astype(float).std() == pytest.approx(surface.grain_std, rel=0.15)


def test_noise_is_standardised_and_as_smooth_as_asked() -> None:
    noise = periodic_noise(np.random.default_rng(1), (256, 256), blur(4, 0.1))

    assert noise.mean() == pytest.approx(0, abs=1e-4)
    assert noise.std() == pytest.approx(1, abs=1e-4)
    neighbours = [float((noise * np.roll(noise, 1, axis)).mean()) for axis in (0, 1)]
    assert neighbours[0] == pytest.approx(np.exp(-1 / (4 * 4**2)), abs=0.01)  # of white noise blurred by sigma 4
    assert neighbours[1] < 0.1


def test_grey_levels_are_rounded_and_cut_off() -> None:
    assert to_bytes(np.array([-3.0, 0.4, 0.6, 254.7, 300.0])).tolist() == [0, 0, 1, 255, 255]

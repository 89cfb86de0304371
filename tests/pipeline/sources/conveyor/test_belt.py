"""The belt: determinism, exact truth, visible defects, good surfaces that are good."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from f2pnet.config.sources import DEFECTS, TEXTURES, DefectName, SyntheticSource, TextureName
from pipeline.sources.conveyor import Conveyor

SEEDS = (9001, 9002, 9003)
VISIBLE_GREY = 6.0
VISIBLE_AREA_PX = 40


def _config(**options: object) -> SyntheticSource:
    return SyntheticSource.model_validate({"size": "256x192", "seed": SEEDS[0], **options})


def _change(texture: TextureName, seed: int, defect: DefectName, index: int) -> tuple[np.ndarray, np.ndarray]:
    """What a defect does to a noiseless frame, in grey levels, and its mask."""
    with_defect = Conveyor(_config(texture=texture, seed=seed, noise_grey=0, defect_rate=1, defects=(defect,)))
    without = Conveyor(_config(texture=texture, seed=seed, noise_grey=0, defect_rate=0))
    frame = with_defect.frame(index)
    return frame.image.astype(float) - without.frame(index).image, frame.mask > 0


def test_same_seed_gives_same_pixels_in_any_order() -> None:
    config = _config(defect_rate=0.5)
    forward, backward = Conveyor(config), Conveyor(config)
    late_first = {index: backward.frame(index) for index in (7, 3, 100_000, 0)}

    for index, late in late_first.items():
        again = forward.frame(index)
        assert np.array_equal(again.image, late.image)
        assert np.array_equal(again.class_mask, late.class_mask)
        assert again.defects == late.defects


def test_other_seed_and_other_index_give_other_pixels() -> None:
    belt, other = Conveyor(_config(seed=1)), Conveyor(_config(seed=2))

    assert not np.array_equal(belt.frame(0).image, belt.frame(1).image)
    assert not np.array_equal(belt.frame(0).image, other.frame(0).image)


def test_belt_moves_on_by_one_frame_height() -> None:
    belt = Conveyor(_config(texture="dagm", noise_grey=0, light_drift=0, defect_rate=0))

    last_row, next_row = (belt.frame(index).image.astype(float) for index in (4, 5))

    across_the_seam = np.abs(last_row[-1] - next_row[0]).mean()
    assert across_the_seam < 1.6 * np.abs(np.diff(last_row, axis=0)).mean()


def test_share_of_defective_frames_is_the_configured_one() -> None:
    belt = Conveyor(_config(defect_rate=0.2))
    frames = 4000

    defective = sum(belt.defective(index) for index in range(frames))

    assert abs(defective / frames - 0.2) < 4 * (0.2 * 0.8 / frames) ** 0.5  # four standard deviations


def test_cheap_answer_agrees_with_the_mask() -> None:
    belt = Conveyor(_config(defect_rate=0.5))

    for index in range(60):
        frame = belt.frame(index)
        assert belt.defective(index) == bool(frame.mask.any()) == bool(frame.defects)


def test_rates_zero_and_one_are_kept() -> None:
    never, always = Conveyor(_config(defect_rate=0)), Conveyor(_config(defect_rate=1))

    assert not any(never.defective(index) for index in range(200))
    assert all(always.defective(index) for index in range(200))


def test_list_of_defects_agrees_with_the_masks() -> None:
    belt = Conveyor(_config(defect_rate=1, size="512x384"))
    for index in range(40):
        frame = belt.frame(index)
        assert set(np.unique(frame.mask)) == {0, 255}
        assert np.array_equal(frame.mask > 0, frame.class_mask > 0)
        assert sum(defect.area_px for defect in frame.defects) == int((frame.mask > 0).sum())
        for defect in frame.defects:
            x, y, width, height = defect.bbox_px
            inside = frame.class_mask[y : y + height, x : x + width] == DEFECTS.index(defect.class_name) + 1
            assert inside.sum() == defect.area_px
            assert inside.any(0)[[0, -1]].all()  # the box is tight
            assert inside.any(1)[[0, -1]].all()


@pytest.mark.parametrize("texture", TEXTURES)
@pytest.mark.parametrize("defect", DEFECTS)
def test_every_defect_can_be_seen_where_the_mask_says_and_nowhere_else(
    texture: TextureName, defect: DefectName
) -> None:
    for seed in SEEDS:
        for index in range(4):
            change, mask = _change(texture, seed, defect, index)
            assert mask.sum() >= VISIBLE_AREA_PX
            assert np.abs(change[mask]).mean() >= VISIBLE_GREY
            beyond = cv2.dilate(mask.astype(np.uint8), np.ones((17, 17), np.uint8)) == 0
            assert np.abs(change[beyond]).max() <= 2  # the soft edge of a stain has died out


@pytest.mark.parametrize("texture", TEXTURES)
def test_good_surface_has_no_lonely_spot_that_looks_like_a_defect(texture: TextureName) -> None:
    for seed in SEEDS:
        image = Conveyor(_config(texture=texture, seed=seed, size="512x512", defect_rate=0)).frame(1).image
        smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 5)  # spots of about the size of a pit
        detail = (smooth - cv2.GaussianBlur(smooth, (0, 0), 30))[40:-40, 40:-40]  # blurring needs surroundings
        assert np.abs(detail).max() < 5.5 * detail.std()


@pytest.mark.parametrize("texture", TEXTURES)
def test_light_drifts_slowly_and_within_its_limit(texture: TextureName) -> None:
    belt = Conveyor(_config(texture=texture, defect_rate=0, light_drift=0.1))
    steady = Conveyor(_config(texture=texture, defect_rate=0, light_drift=0))

    gains = [belt.frame(index).image.mean() / steady.frame(index).image.mean() for index in range(0, 600, 7)]

    assert max(gains) > 1.02
    assert min(gains) < 0.98
    assert all(abs(gain - 1) < 0.11 for gain in gains)
    assert max(abs(np.diff(gains))) < 0.05


def test_noise_has_the_configured_strength() -> None:
    quiet = Conveyor(_config(noise_grey=0, defect_rate=0, light_drift=0)).frame(3).image.astype(float)
    noisy = Conveyor(_config(noise_grey=4, defect_rate=0, light_drift=0)).frame(3).image.astype(float)

    assert (noisy - quiet).std() == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize("size", ["96x96", "97x640", "1283x127"])
def test_odd_sizes_work(size: str) -> None:
    belt = Conveyor(_config(size=size, defect_rate=1))
    width, height = (int(side) for side in size.split("x"))

    for index in range(30):
        frame = belt.frame(index)
        assert frame.image.shape == frame.mask.shape == (height, width)
        assert frame.image.flags.c_contiguous
        assert frame.mask.any()


def test_index_before_the_belt_is_refused() -> None:
    with pytest.raises(ValueError, match="-1"):
        Conveyor(_config()).frame(-1)

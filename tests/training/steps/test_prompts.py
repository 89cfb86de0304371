from __future__ import annotations

import numpy as np
import pytest
import torch

from training.steps.prompts import a_point, draw_prompt_batch, jittered_box, one_defect

TWO = np.zeros((32, 32), np.uint8)
TWO[2:6, 3:9] = 1
TWO[20:30, 20:24] = 1


def test_one_of_several_defects_is_chosen_whole() -> None:
    chosen = {int(one_defect(TWO, np.random.default_rng(seed)).sum()) for seed in range(20)}
    assert chosen == {4 * 6, 10 * 4}


def test_a_good_image_has_no_defect_to_choose() -> None:
    assert not one_defect(np.zeros((8, 8), np.uint8), np.random.default_rng(0)).any()


def test_a_box_lies_around_its_defect_give_or_take_a_tenth_of_its_sides() -> None:
    defect = one_defect(TWO, np.random.default_rng(0))
    rows, columns = np.nonzero(defect)
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    for seed in range(20):
        x0, y0, x1, y1 = jittered_box(defect, np.random.default_rng(seed))
        assert abs(x0 - columns.min()) <= 0.1 * width
        assert abs(x1 - columns.max() - 1) <= 0.1 * width
        assert abs(y0 - rows.min()) <= 0.1 * height
        assert abs(y1 - rows.max() - 1) <= 0.1 * height


def test_a_point_lies_on_the_defect() -> None:
    for seed in range(20):
        x, y = a_point(TWO, np.random.default_rng(seed))
        assert TWO[int(y), int(x)] == 1


@pytest.mark.parametrize("seed", range(12))
def test_prompts_on_good_images_ask_for_nothing(seed: int) -> None:
    masks = torch.zeros(3, 1, 32, 32)
    asked = draw_prompt_batch(masks, np.random.default_rng(seed))
    assert asked.prompts(torch.zeros(3, 1, 8, 8)).points.shape[:2] == (3, 1)
    assert not asked.targets.any()


def test_a_mask_prompt_holds_the_own_answer_within_ten_and_asks_for_the_union() -> None:
    masks = torch.from_numpy(TWO[None, None].astype(np.float32))
    own = torch.linspace(-50, 50, 64).reshape(1, 1, 8, 8).requires_grad_()
    drawn = (draw_prompt_batch(masks, np.random.default_rng(seed)) for seed in range(50))
    asked = next(questions for questions in drawn if questions.kind == "mask")
    prompts = asked.prompts(own)
    assert prompts.masks is not None
    assert (prompts.masks.min().item(), prompts.masks.max().item()) == (-10, 10)
    assert not prompts.masks.requires_grad
    assert asked.targets.equal(masks)

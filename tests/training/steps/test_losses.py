from __future__ import annotations

import numpy as np
import pytest
import torch

from training.steps.losses import image_loss, mask_loss, positive_weight

LOGITS = torch.tensor(np.random.default_rng(0).normal(0, 2, (3, 1, 6, 5)))
TARGETS = torch.tensor((np.random.default_rng(1).random((3, 1, 6, 5)) > 0.7).astype(float))

WITH_A_GOOD_ONE = TARGETS * torch.tensor([1.0, 0.0, 1.0]).reshape(3, 1, 1, 1)


def in_numpy(
    logits: np.ndarray, targets: np.ndarray, *, dice_on_good: bool = False, positive_weight: float = 1.0
) -> float:
    """BCE + Dice + 5 Focal from their formulas, in NumPy."""
    p, t = 1 / (1 + np.exp(-logits)), targets
    p_true = np.where(t == 1, p, 1 - p)
    bce = (-np.log(p_true) * np.where(t == 1, positive_weight, 1)).mean()
    per_image = [
        1 - (2 * (a * b).sum() + 1) / (a.sum() + b.sum() + 1) if b.any() or dice_on_good else 0.0
        for a, b in zip(p, t, strict=True)
    ]
    focal = (-0.25 * (1 - p_true) ** 2 * np.log(p_true)).mean()
    return float(bce + np.mean(per_image) + 5 * focal)


def test_the_mask_loss_agrees_with_its_formulas() -> None:
    assert mask_loss(LOGITS, TARGETS).item() == pytest.approx(in_numpy(LOGITS.numpy(), TARGETS.numpy()))


@pytest.mark.parametrize("dice_on_good", [False, True])
def test_a_good_image_takes_part_in_dice_only_where_asked_for(dice_on_good: bool) -> None:
    found = mask_loss(LOGITS, WITH_A_GOOD_ONE, dice_on_good=dice_on_good).item()
    assert found == pytest.approx(in_numpy(LOGITS.numpy(), WITH_A_GOOD_ONE.numpy(), dice_on_good=dice_on_good))


@pytest.mark.parametrize(("dice_on_good", "weight"), [(False, 1.0), (True, 1.0), (False, 7.5)])
def test_the_gradient_agrees_with_the_slope_of_the_formulas(dice_on_good: bool, weight: float) -> None:
    logits = LOGITS.clone().requires_grad_()
    (3 * mask_loss(logits, WITH_A_GOOD_ONE, dice_on_good=dice_on_good, positive_weight=weight)).backward()
    slope = np.zeros(LOGITS.shape)
    for place in np.ndindex(*LOGITS.shape):
        nudge = np.zeros(LOGITS.shape)
        nudge[place] = 1e-5
        up, down = (
            in_numpy(
                LOGITS.numpy() + way * nudge,
                WITH_A_GOOD_ONE.numpy(),
                dice_on_good=dice_on_good,
                positive_weight=weight,
            )
            for way in (1, -1)
        )
        slope[place] = 3 * (up - down) / 2e-5
    np.testing.assert_allclose(logits.grad.numpy(), slope, atol=1e-8)


def test_logits_are_brought_to_the_size_of_the_targets() -> None:
    flat = torch.full((1, 1, 4, 4), 0.7)
    small, large = (mask_loss(flat, torch.ones(1, 1, side, side)) for side in (4, 16))
    # A flat map stays flat; the Dice term alone sees the number of pixels, through its +1.
    p = torch.sigmoid(torch.tensor(0.7)).item()
    dice = [1 - (2 * n * p + 1) / (n * p + n + 1) for n in (16, 256)]
    assert (small - large).item() == pytest.approx(dice[0] - dice[1], abs=1e-6)


def test_confident_and_right_costs_nothing() -> None:
    sure = (TARGETS * 2 - 1) * 30
    assert mask_loss(sure, TARGETS).item() == pytest.approx(0, abs=1e-6)
    assert image_loss(torch.tensor([30.0, -30.0]), torch.tensor([1.0, 0.0])).item() == pytest.approx(0, abs=1e-6)


def test_the_weight_of_defective_pixels_falls_to_one_by_the_middle_of_the_run() -> None:
    weights = [positive_weight(step, 100, 16.0) for step in (0, 25, 50, 99)]
    assert weights == pytest.approx([16, 4, 1, 1])

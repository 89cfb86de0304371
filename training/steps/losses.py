"""The losses of a step (docs/training.md), each a pure function of logits and targets."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

FOCAL_WEIGHT = 5.0
FOCAL_ALPHA = 0.25  # multiplies both classes, as in the reference

SURE = -30.0
"""A logit whose probability and loss are 0 in single precision."""
NO_CLASS = -1
"""In class targets: a good pixel, which has no class."""


def mask_loss(logits: Tensor, targets: Tensor, *, dice_on_good: bool = False, positive_weight: float = 1.0) -> Tensor:
    """BCE + Dice + 5 Focal. Logits (B, 1, h, w) are brought to the targets' size (B, 1, H, W; 0 or 1); a scalar.

    Dice is the mean over images of 1 - (2 |p t| + 1) / (|p| + |t| + 1), so small defects weigh as much as large ones.
    Focal is the mean over pixels of alpha (1 - p_true)^gamma times the cross entropy.
    An image without a defect has no Dice term unless `dice_on_good` (the reference's way) asks for it: its pull towards
    finding nothing anywhere keeps a network from ever starting on small defects (docs/adr/0006). `positive_weight`
    counts each defective pixel so many times in the BCE.
    """
    return _MaskLoss.apply(  # type: ignore[no-any-return, no-untyped-call]
        resize_logits(logits, targets), targets, dice_on_good, positive_weight
    )


def positive_weight(step: int, steps: int, start: float) -> float:
    """`start` at step 0, falling geometrically to 1 at half of `steps`, and 1 from there."""
    return float(start ** max(0.0, 1 - 2 * step / steps))


def hidden(logits: Tensor, ignored: Tensor | None) -> Tensor:
    """Logits (B, 1, h, w) at the size of `ignored` (B, 1, H, W; bool), sure of background where pixels are ignored.

    No gradient comes from there, and no loss, since targets hold 0 there.
    """
    return logits if ignored is None else resize_logits(logits, ignored).masked_fill(ignored, SURE)


def image_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """BCE of the image score; logits and labels (B,)."""
    return F.binary_cross_entropy_with_logits(logits, labels)


def class_loss(logits: Tensor, classes: Tensor) -> Tensor:
    """Cross entropy of the class map on defective pixels. Logits (B, C, h, w), classes (B, S, S) int64: 0 .. C-1, or
    `NO_CLASS`; compared at the logits' size. Zero where no pixel is defective."""
    places = classes[:, None].to(logits.dtype)
    at_logits = F.interpolate(places, logits.shape[-2:], mode="nearest-exact")[:, 0].long()
    loss = F.cross_entropy(logits.float(), at_logits, ignore_index=NO_CLASS, reduction="sum")
    return loss / (at_logits != NO_CLASS).sum().clamp_min(1)


def resize_logits(logits: Tensor, targets: Tensor) -> Tensor:
    """Bilinear to the targets' height and width, pixel centres aligned."""
    if logits.shape[-2:] == targets.shape[-2:]:
        return logits
    return F.interpolate(logits, targets.shape[-2:], mode="bilinear", align_corners=False)


class _MaskLoss(torch.autograd.Function):
    """All three terms and their gradient in one go: a third of the passes over the pixels that autograd would make.

    With wrong = 1 - p_true, ce = -log p_true and y = +1 where the target is 0, -1 where it is 1, the derivatives by
    the logit are y wrong for the cross entropy, alpha y wrong^2 (2 p_true ce + wrong) for Focal with gamma 2, and
    wrong p_true ((2 o + 1) / s^2 - 2 t / s) for Dice, where s = |p| + |t| + 1 and o = |p t|.
    """

    @staticmethod
    def forward(context: Any, logits: Tensor, targets: Tensor, dice_on_good: bool, positive_weight: float) -> Tensor:
        sign = 1 - 2 * targets
        weight = 1 + (positive_weight - 1) * targets
        cross_entropy = F.softplus(sign * logits)
        wrong = torch.sigmoid(sign * logits)
        right = 1 - wrong
        pixels, images = logits.numel(), logits.shape[0]

        overlap = (right * targets).flatten(1).sum(1)
        size = (wrong * sign + 2 * targets).flatten(1).sum(1) + 1  # p + t, as p = t + sign * wrong
        counted = torch.ones_like(size) if dice_on_good else targets.flatten(1).amax(1)
        dice = (counted * (1 - (2 * overlap + 1) / size)).mean()
        focal = FOCAL_ALPHA * (wrong * wrong * cross_entropy).sum() / pixels
        loss = (weight * cross_entropy).sum() / pixels + dice + FOCAL_WEIGHT * focal

        by_pixel = FOCAL_WEIGHT * FOCAL_ALPHA * wrong * (2 * right * cross_entropy + wrong) + weight
        ratio = (counted * (2 * overlap + 1) / size**2).reshape(-1, 1, 1, 1)
        by_image = right * (ratio - targets * (counted * 2 / size).reshape(-1, 1, 1, 1))
        context.save_for_backward(wrong * (sign * by_pixel / pixels + by_image / images))
        return loss

    @staticmethod
    def backward(context: Any, *upstream: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = context.saved_tensors
        return upstream[0] * gradient, None, None, None

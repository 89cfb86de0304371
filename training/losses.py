"""The losses of the specification, section 3, each a pure function of logits and targets."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

FOCAL_WEIGHT = 5.0
FOCAL_ALPHA = 0.25  # multiplies both classes, as in the reference
FOCAL_GAMMA = 2.0


def mask_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """BCE + Dice + 5 Focal. Logits (B, 1, h, w) are brought to the targets' size (B, 1, H, W; 0 or 1); a scalar."""
    logits = resize_logits(logits, targets)
    return (
        F.binary_cross_entropy_with_logits(logits, targets)
        + dice_loss(logits, targets)
        + (FOCAL_WEIGHT * focal_loss(logits, targets))
    )


def image_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """BCE of the image score; logits and labels (B,)."""
    return F.binary_cross_entropy_with_logits(logits, labels)


def dice_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over images of 1 - (2 |p t| + 1) / (|p| + |t| + 1): small defects weigh as much as large ones."""
    probabilities = logits.sigmoid().flatten(1)
    targets = targets.flatten(1)
    overlap = (probabilities * targets).sum(1)
    return (1 - (2 * overlap + 1) / (probabilities.sum(1) + targets.sum(1) + 1)).mean()


def focal_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over pixels of alpha (1 - p_true)^gamma times the cross entropy."""
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    p_true = torch.exp(-cross_entropy)
    return FOCAL_ALPHA * ((1 - p_true) ** FOCAL_GAMMA * cross_entropy).mean()


def resize_logits(logits: Tensor, targets: Tensor) -> Tensor:
    """Bilinear to the targets' height and width, pixel centres aligned."""
    if logits.shape[-2:] == targets.shape[-2:]:
        return logits
    return F.interpolate(logits, targets.shape[-2:], mode="bilinear", align_corners=False)

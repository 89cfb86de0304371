"""Geometric prompts as tensors of static shape.

Every prompt is a row of T labelled points; a box is two of them, its corners. Rows of different length are filled
up with ABSENT, which the decoder masks out exactly, so one shape serves all kinds of prompt in one batch.
Shapes: B images, N prompts each, T points each, M = map size (four times the token grid).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

ABSENT = -2
"""Not there: no influence at all."""
PADDING = -1
"""SAM's "not a point", a token with an embedding of its own; it accompanies points that come without a box."""
NEGATIVE, POSITIVE, TOP_LEFT, BOTTOM_RIGHT = 0, 1, 2, 3


@dataclass(frozen=True)
class Prompts:
    """Prompts in pixels of the network input, x before y; `masks` are logits (or 0/1) at map size."""

    points: Tensor
    """(B, N, T, 2) float"""
    labels: Tensor
    """(B, N, T) integer, one of the constants above"""
    masks: Tensor | None = None
    """(B, N, 1, M, M) float"""
    has_mask: Tensor | None = None
    """(B, N) bool: rows whose mask counts; None: all."""

    def __post_init__(self) -> None:
        if self.points.shape != (*self.labels.shape, 2) or self.labels.dim() != 3:
            raise ValueError(
                f"points are {tuple(self.points.shape)} and labels {tuple(self.labels.shape)}; "
                "they must be (B, N, T, 2) and (B, N, T)"
            )
        if self.masks is not None and self.masks.shape[:3] != (*self.labels.shape[:2], 1):
            raise ValueError(
                f"masks are {tuple(self.masks.shape)}; they must be (B, N, 1, M, M) with (B, N) = "
                f"{tuple(self.labels.shape[:2])}"
            )

    @classmethod
    def from_points(cls, points: Tensor, labels: Tensor) -> "Prompts":
        """(B, N, P, 2) and (B, N, P): adds the padding point that SAM expects where no box comes with the points."""
        extra = points.new_zeros(*points.shape[:2], 1, 2)
        padding = torch.full_like(labels[..., :1], PADDING)
        return cls(torch.cat([points, extra], dim=2), torch.cat([labels, padding], dim=2))

    @classmethod
    def from_boxes(cls, boxes: Tensor, points: Tensor | None = None, labels: Tensor | None = None) -> "Prompts":
        """(B, N, 4) as x0, y0, x1, y1, with (B, N, P, 2) labelled points beside them or without."""
        corners = boxes.reshape(*boxes.shape[:2], 2, 2)
        kinds = torch.tensor([TOP_LEFT, BOTTOM_RIGHT], device=boxes.device).expand(corners.shape[:3])
        if points is None or labels is None:
            return cls(corners, kinds)
        return cls(torch.cat([points, corners], dim=2), torch.cat([labels, kinds], dim=2))

    @classmethod
    def from_masks(cls, masks: Tensor) -> "Prompts":
        """(B, N, 1, M, M)"""
        points = masks.new_zeros(*masks.shape[:2], 0, 2)
        return cls(points, torch.zeros(points.shape[:3], dtype=torch.long, device=masks.device), masks)

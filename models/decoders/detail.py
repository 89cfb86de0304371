"""The way of fine detail from the CNN to the masks, past the ViT's coarse grid.

Shapes: B images, M map size, F feature width. Stages are maps of stride 4, 8, 16 and 32, or the first of them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.layers import LayerNorm2d, resize_map


def detail_path(stage_widths: Sequence[int], width: int, feature_width: int) -> nn.Module:
    """From maps of these widths to (B, F, M, M): through a pyramid of `width` channels, or added where that is 0."""
    if width and stage_widths:
        return DetailPyramid(stage_widths, width, feature_width)
    return DetailSum([nn.Conv2d(stage_width, feature_width, 1) for stage_width in stage_widths])


class DetailSum(nn.ModuleList):
    """Each stage projected, brought to one size, and added."""

    def forward(self, stages: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        projected = [resize_map(project(stage), size) for stage, project in zip(stages, self, strict=True)]
        return torch.stack(projected).sum(0)


class DetailPyramid(nn.Module):
    """From the coarsest stage up, each is projected to one width, joined to what comes from below, and smoothed.

    Idea: Feature Pyramid Networks (Lin et al., CVPR 2017); what plain decoders on CNNs do well, lightly.
    """

    def __init__(self, stage_widths: Sequence[int], width: int, feature_width: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(stage_width, width, 1) for stage_width in stage_widths)
        self.smooth = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, padding=1), LayerNorm2d(width), nn.GELU()) for _ in stage_widths
        )
        self.project = nn.Conv2d(width, feature_width, 1)

    def forward(self, stages: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        below: Tensor | None = None
        for stage, lateral, smooth in reversed(list(zip(stages, self.lateral, self.smooth, strict=True))):
            own = lateral(stage)
            below = smooth(own if below is None else own + resize_map(below, own.shape[-2:]))
        if below is None:
            raise ValueError("a pyramid needs at least one stage")
        return resize_map(self.project(below), size)

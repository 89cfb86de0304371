"""ViCNet: the ViT with a CNN beside it, joined at the ViT's global-attention blocks.

The CNN keeps the fine detail that 16 x 16 patches blur. Its stage j (stride 4, 8, 16, 32) is projected to the
ViT's width, brought to the token grid, and added to the input of the j-th global block, after that block's prompt.
Paper: "ViCNet"; reference: image_encoder with Auxiliary_encoder and fpn.
"""

from collections.abc import Callable, Collection
from typing import NamedTuple

from torch import Tensor, nn

from models.configuration import Module
from models.encoders.evpt import EVPT
from models.encoders.vit import ImageEncoderViT
from models.layers import resize_map


class ViCNetFeatures(NamedTuple):
    """What the decoder needs of an image."""

    embedding: Tensor
    """(B, decoder width, H, W)"""
    early: Tensor
    """(B, H, W, C), output of the first global block; of TinyViT's stage 1, at twice the grid."""
    stages: list[Tensor]
    """CNN maps of stride 4, 8, 16, 32; empty where the CNN is left out."""


class ViCNet(nn.Module):
    def __init__(
        self,
        vit: ImageEncoderViT,
        cnn: nn.Module,
        evpt: EVPT,
        stage_widths: list[int],
        width: int,
        without: Collection[Module] = (),
    ) -> None:
        super().__init__()
        self.without = without
        self.vit = vit
        self.cnn = cnn
        self.evpt = evpt
        self.fpn = nn.ModuleList(nn.Conv2d(stage_width, width, 1) for stage_width in stage_widths)

    def forward(self, images: Tensor, hf_token: Tensor, cnn_images: Tensor | None = None) -> ViCNetFeatures:
        """(B, 3, S, S) normalised images, the (1, decoder width) high-frequency token, and the images as the CNN
        wants them normalised where that differs."""
        prompt = self._prompt(images, hf_token)
        stages = [] if "cnn" in self.without else self.cnn(images if cnn_images is None else cnn_images)

        def before_block(block: int) -> Tensor | None:
            if not stages or block not in self.vit.global_blocks:
                return prompt(block)
            fused, own = self.fuse(self.vit.global_blocks.index(block), stages), prompt(block)
            return fused if own is None else own + fused

        embedding, global_outputs = self.vit(images, before_block)
        return ViCNetFeatures(embedding, global_outputs[0], stages)

    def _prompt(self, images: Tensor, hf_token: Tensor) -> Callable[[int], Tensor | None]:
        """What EVPT adds before a block."""
        if "evpt" in self.without:
            return lambda block: None
        joint = self.evpt.joint(images, self.vit.patch_embed.proj, hf_token)
        return lambda block: self.evpt.prompt(block, joint)

    def fuse(self, stage: int, stages: list[Tensor]) -> Tensor:
        """Stage j as (B, H, W, C) tokens, by way of whichever order touches fewer pixels.

        Resampling weights sum to one and act on each channel alone, so they commute with the 1 x 1 projection.
        """
        grid = (self.evpt.grid, self.evpt.grid)
        features, project = stages[stage], self.fpn[stage]
        if features.shape[-1] > grid[1]:
            tokens = project(resize_map(features, grid))
        else:
            tokens = resize_map(project(features), grid)
        return tokens.permute(0, 2, 3, 1)  # type: ignore[no-any-return]

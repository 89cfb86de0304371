"""ViCNet on TinyViT: the CNN joins each stage on that stage's own grid.

CNN stage j (stride 4, 8, 16, 32) is projected to the width of stage j and added to the input of its first block, after
that block's prompt; nothing is lost by resampling stride 4 to 16. Only the last one is brought from stride 32 to 16.
The projections begin at zero, so that training starts from the encoder as it was pretrained.
"""

from collections.abc import Callable, Collection, Sequence
from itertools import accumulate

from torch import Tensor, nn

from models.configuration import Module
from models.encoders.staged_evpt import StagedEVPT
from models.encoders.tiny_vit import TinyViT
from models.encoders.vicnet import ViCNetFeatures
from models.layers import resize_map


class StagedViCNet(nn.Module):
    """`depths` are the blocks of each stage; those of the first are convolutions and get no prompt."""

    def __init__(
        self,
        vit: TinyViT,
        cnn: nn.Module,
        evpt: StagedEVPT,
        cnn_widths: Sequence[int],
        widths: Sequence[int],
        depths: Sequence[int],
        without: Collection[Module] = (),
    ) -> None:
        super().__init__()
        self.without = without
        self.first_blocks = (0, *accumulate(depths[:-1]))
        self.vit = vit
        self.cnn = cnn
        self.evpt = evpt
        self.fpn = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in zip(cnn_widths, widths, strict=True))
        for projection in self.fpn:
            nn.init.zeros_(projection.weight)  # type: ignore[arg-type]
            nn.init.zeros_(projection.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor, hf_token: Tensor, cnn_images: Tensor | None = None) -> ViCNetFeatures:
        """(B, 3, S, S) normalised images, the (1, decoder width) high-frequency token, and the images as the CNN
        wants them normalised where that differs. `early` is stage 1's output, (B, S/8, S/8, C)."""
        stages = [] if "cnn" in self.without else self.cnn(images if cnn_images is None else cnn_images)
        patches = self.vit.patch_embed(images)
        prompt = self._prompt(images, patches, hf_token)

        def before_block(block: int) -> Tensor | None:
            own = prompt(block)
            if not stages or block not in self.first_blocks:
                return own
            fused = self.fuse(self.first_blocks.index(block), stages)
            return fused if own is None else own + fused

        embedding, early = self.vit.from_patches(patches, before_block)
        return ViCNetFeatures(embedding, early, stages)

    def _prompt(self, images: Tensor, patches: Tensor, hf_token: Tensor) -> Callable[[int], Tensor | None]:
        """What EVPT adds before a block."""
        if "evpt" in self.without:
            return lambda block: None
        joint = self.evpt.joint(images, patches, hf_token)
        unprompted = self.first_blocks[1]
        return lambda block: None if block < unprompted else self.evpt.prompt(block - unprompted, joint)

    def fuse(self, stage: int, stages: list[Tensor]) -> Tensor:
        """CNN stage j as (B, H, W, C) on the grid of stage j."""
        projected = self.fpn[stage](stages[stage])
        if stage == len(stages) - 1:
            projected = resize_map(projected, (self.evpt.grid, self.evpt.grid))
        return projected.permute(0, 2, 3, 1)  # type: ignore[no-any-return]

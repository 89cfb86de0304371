"""EVPT for an encoder of several stages: one joint map on each of its grids, one shared projection for each width.

The sources are those of `evpt.py`: the high-pass of the image, the patch embedding, and a map made from the
decoder's high-frequency token. Prompts begin at zero, so that training starts from the encoder as it was pretrained.
Shapes: B images, S image size, D prompt width, C width of a stage.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.encoders.highpass import HighPass
from models.layers import resize_map

FINE = 8
"""Stride of the finer grid; the coarser one, of stride 16, is its 2 x 2 mean."""


class StagedEVPT(nn.Module):
    """`stage_of_prompt` names, for each block that gets a prompt, the place of its width in `widths`."""

    def __init__(
        self,
        *,
        highpass: HighPass,
        grid: int,
        patch_width: int,
        widths: Sequence[int],
        stage_of_prompt: Sequence[int],
        prompt_width: int,
        token_width: int,
        hf_hidden: int,
    ) -> None:
        super().__init__()
        self.grid = grid
        self.stage_of_prompt = tuple(stage_of_prompt)
        self.highpass = highpass
        self.handcrafted = nn.Conv2d(3, prompt_width, FINE, FINE)
        self.embedding = nn.Conv2d(patch_width, prompt_width, 1)
        self.hf_down = nn.ModuleList(nn.Linear(token_width, hf_hidden) for _ in range(prompt_width))
        self.hf_up = nn.Linear(hf_hidden, grid * grid)
        self.own = nn.ModuleList(nn.Linear(prompt_width, prompt_width) for _ in stage_of_prompt)
        self.shared = nn.ModuleList(nn.Linear(prompt_width, width) for width in widths)
        for projection in self.shared:
            nn.init.zeros_(projection.weight)  # type: ignore[arg-type]
            nn.init.zeros_(projection.bias)  # type: ignore[arg-type]

    def joint(self, images: Tensor, patches: Tensor, hf_token: Tensor) -> list[Tensor]:
        """(B, 3, S, S) normalised images and (B, C, S/4, S/4) patch embedding -> maps (B, side, side, D), side S/8
        for the first stage with prompts and S/16 for the others."""
        fine = self.handcrafted(self.highpass(images)) + self.embedding(F.avg_pool2d(patches, 2))
        constant = self.hf_map(hf_token)
        on_fine = fine + resize_map(constant, (2 * self.grid, 2 * self.grid))
        on_coarse = F.avg_pool2d(fine, 2) + constant
        return [on_fine.permute(0, 2, 3, 1), *(on_coarse.permute(0, 2, 3, 1) for _ in self.shared[1:])]

    def hf_map(self, hf_token: Tensor) -> Tensor:
        """(1, token width) -> (1, D, S/16, S/16). Depends on weights only: a constant of the exported network."""
        hidden = torch.cat([F.gelu(branch(hf_token)) for branch in self.hf_down])
        return self.hf_up(hidden).reshape(1, -1, self.grid, self.grid)  # type: ignore[no-any-return]

    def prompt(self, number: int, joint: list[Tensor]) -> Tensor:
        """The prompt added to the input of the `number`-th block that gets one, (B, side, side, C)."""
        stage = self.stage_of_prompt[number]
        return self.shared[stage](F.gelu(self.own[number](joint[stage])))  # type: ignore[no-any-return]

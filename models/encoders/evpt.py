"""EVPT, explicit visual prompt tuning: what is added before every block of the ViT.

Three sources are summed into one joint map of few channels, computed once per image:
the image's fine structure (patch embedding of its high-pass), its patch embedding before the positions, and a
constant map made from the decoder's high-frequency token. A small layer per block and one layer common to all
blocks turn the joint map into that block's prompt. Paper: "EVPT"; reference: image_encoder.prompt_generator.
Shapes: B images, H = W grid, T = H * W, D prompt width, C ViT width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.encoders.highpass import HighPass
from models.layers import weight_and_bias


class EVPT(nn.Module):
    def __init__(
        self,
        *,
        highpass: HighPass,
        grid: int,
        patch_size: int,
        width: int,
        depth: int,
        prompt_width: int,
        token_width: int,
        hf_hidden: int,
    ) -> None:
        super().__init__()
        self.grid = grid
        self.highpass = highpass
        self.handcrafted = nn.Conv2d(3, prompt_width, patch_size, patch_size)
        self.embedding = nn.Linear(width, prompt_width)
        self.hf_down = nn.ModuleList(nn.Linear(token_width, hf_hidden) for _ in range(prompt_width))
        self.hf_up = nn.Linear(hf_hidden, grid * grid)
        self.own = nn.ModuleList(nn.Linear(prompt_width, prompt_width) for _ in range(depth))
        self.shared = nn.Linear(prompt_width, width)

    def joint(self, images: Tensor, patch_embedding: nn.Conv2d, hf_token: Tensor) -> Tensor:
        """(B, 3, S, S) normalised images -> (B, H, W, D).

        Both image branches are linear in patches, so they are one convolution of six channels: the embedding
        branch's kernel is the product of its own weight with that of the ViT's patch embedding.
        """
        patch_kernel, patch_bias = weight_and_bias(patch_embedding)
        hand_kernel, hand_bias = weight_and_bias(self.handcrafted)
        embedding_kernel = (self.embedding.weight @ patch_kernel.flatten(1)).reshape(hand_kernel.shape)
        embedding_bias = self.embedding.weight @ patch_bias + self.embedding.bias
        kernel, bias = torch.cat([hand_kernel, embedding_kernel], dim=1), hand_bias + embedding_bias
        six_channels = torch.cat([self.highpass(images), images], dim=1)
        joint = F.conv2d(six_channels, kernel, bias, stride=self.handcrafted.stride)
        return joint.permute(0, 2, 3, 1) + self.hf_map(hf_token)

    def hf_map(self, hf_token: Tensor) -> Tensor:
        """(1, token width) -> (1, H, W, D). Depends on weights only: a constant of the exported network."""
        hidden = torch.cat([F.gelu(branch(hf_token)) for branch in self.hf_down])
        return self.hf_up(hidden).mT.reshape(1, self.grid, self.grid, -1)  # type: ignore[no-any-return]

    def prompt(self, block: int, joint: Tensor) -> Tensor:
        """(B, H, W, D) -> (B, H, W, C), the prompt added to the input of `block`."""
        return self.shared(F.gelu(self.own[block](joint)))  # type: ignore[no-any-return]

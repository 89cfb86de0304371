"""SAM's prompt encoder: points, boxes and masks to tokens and a dense map.

Follows segment_anything/modeling/prompt_encoder.py (Meta AI, Apache-2.0), same parameter names.
Shapes: B images, N prompts, T points, E embedding width, H = W token grid.
"""

import math

import torch
from torch import Tensor, nn

from models.decoders.prompts import ABSENT, PADDING, Prompts
from models.layers import LayerNorm2d


class RandomPositions(nn.Module):
    """Codes a place in [0, 1] x [0, 1] by sines and cosines of fixed random frequencies."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, width // 2))

    def forward(self, places: Tensor) -> Tensor:
        """(..., 2) as x, y -> (..., width)"""
        angles = 2 * math.pi * ((2 * places - 1) @ self.positional_encoding_gaussian_matrix)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


MASK_WIDTH = 16
"""Channels between a mask and the dense map, SAM's."""


class PromptEncoder(nn.Module):
    def __init__(self, image_size: int, grid: int, width: int) -> None:
        super().__init__()
        self.image_size = image_size
        self.grid = grid
        self.pe_layer = RandomPositions(width)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, width) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, width)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, MASK_WIDTH // 4, 2, 2),
            LayerNorm2d(MASK_WIDTH // 4),
            nn.GELU(),
            nn.Conv2d(MASK_WIDTH // 4, MASK_WIDTH, 2, 2),
            LayerNorm2d(MASK_WIDTH),
            nn.GELU(),
            nn.Conv2d(MASK_WIDTH, width, 1),
        )
        self.no_mask_embed = nn.Embedding(1, width)

    def dense_positions(self) -> Tensor:
        """(1, E, H, W): the codes of the token centres."""
        centres = (torch.arange(self.grid, device=self.no_mask_embed.weight.device) + 0.5) / self.grid
        places = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), dim=-1)
        return self.pe_layer(places).permute(2, 0, 1)[None]  # type: ignore[no-any-return]

    def sparse(self, prompts: Prompts | None) -> tuple[Tensor | None, Tensor | None]:
        """The prompts' tokens (B, N, T, E) and which of them count (B, N, T); nothing for no prompts."""
        if prompts is None:
            return None, None
        return self.tokens(prompts), prompts.labels != ABSENT

    def tokens(self, prompts: Prompts) -> Tensor:
        """(B, N, T, E). Rows labelled ABSENT hold zeros; the decoder masks them out."""
        codes: Tensor = self.pe_layer((prompts.points + 0.5) / self.image_size)
        codes = codes * (prompts.labels != PADDING)[..., None]
        kinds = [self.not_a_point_embed, *self.point_embeddings]
        table = torch.cat([torch.zeros_like(kinds[0].weight), *(kind.weight for kind in kinds)])
        present = (prompts.labels != ABSENT)[..., None]
        return codes * present + table[prompts.labels - ABSENT]

    def dense(self, prompts: Prompts | None) -> Tensor:
        """(B * N, E, H, W), or (1, E, 1, 1) when there is no mask."""
        no_mask = self.no_mask_embed.weight[:, :, None, None]
        if prompts is None or prompts.masks is None:
            return no_mask
        embedded: Tensor = self.mask_downscaling(prompts.masks.flatten(0, 1))
        if prompts.has_mask is None:
            return embedded
        return torch.where(prompts.has_mask.reshape(-1, 1, 1, 1), embedded, no_mask)

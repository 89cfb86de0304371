"""SAM's image encoder: a plain ViT with relative positions, most blocks attending within windows.

Follows segment_anything/modeling/image_encoder.py (Meta AI, Apache-2.0), same parameter names.
Shapes: B images, H = W = grid of tokens, C width, h heads, c head width, T = H * W tokens.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.attention import attend
from models.layers import LayerNorm2d

EPS = 1e-6


class PatchEmbed(nn.Module):
    """(B, 3, S, S) image -> (B, H, W, C) tokens."""

    def __init__(self, patch_size: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch_size, patch_size)

    def forward(self, images: Tensor) -> Tensor:
        return self.proj(images).permute(0, 2, 3, 1)  # type: ignore[no-any-return]


class RelativeAttention(nn.Module):
    """Self-attention over a side x side grid whose logits see how far apart two tokens stand.

    logits = (q . k) / sqrt(c) + q . Rh[yq - yk + side - 1] + q . Rw[xq - xk + side - 1], q unscaled in the last two.
    The two position terms become extra channels: they are appended to q, and one-hot codes of the key's row and
    column to k. What is left is ordinary attention, which fused kernels accept; no T x T bias is made.
    """

    offsets: Tensor
    key_codes: Tensor

    def __init__(self, width: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads = heads
        head_width = width // heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * side - 1, head_width))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * side - 1, head_width))
        places = torch.arange(side)
        self.register_buffer("offsets", places[:, None] - places + side - 1, persistent=False)
        self.register_buffer("key_codes", _row_and_column_codes(side), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        qkv = self.qkv(x).reshape(batch, height * width, 3, self.heads, channels // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        queries = torch.cat([q * q.shape[-1] ** -0.5, self._position_terms(q)], dim=-1)
        keys = torch.cat([k, self.key_codes.expand(*k.shape[:2], -1, -1)], dim=-1)
        mixed = attend(queries, keys, v)
        return self.proj(mixed.transpose(1, 2).reshape(batch, height, width, channels))  # type: ignore[no-any-return]

    def _position_terms(self, q: Tensor) -> Tensor:
        """(B, h, T, c) -> (B, h, T, 2 side): for each query, its term for every row and every column."""
        side = self.offsets.shape[0]
        q_rows = q.reshape(*q.shape[:2], side, side, q.shape[-1])
        to_rows = q_rows @ self.rel_pos_h[self.offsets].mT
        to_columns = (q_rows.transpose(2, 3) @ self.rel_pos_w[self.offsets].mT).transpose(2, 3)
        return torch.cat([to_rows, to_columns], dim=-1).flatten(2, 3)


class MlpBlock(nn.Module):
    """Two linear layers with exact GELU between."""

    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, ratio * width)
        self.lin2 = nn.Linear(ratio * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.lin2(F.gelu(self.lin1(x)))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Pre-norm transformer block; `window_size` None means attention over the whole grid."""

    def __init__(self, width: int, heads: int, mlp_ratio: int, grid: int, window_size: int | None) -> None:
        super().__init__()
        self.window_size = window_size
        self.norm1 = nn.LayerNorm(width, eps=EPS)
        self.attn = RelativeAttention(width, heads, window_size or grid)
        self.norm2 = nn.LayerNorm(width, eps=EPS)
        self.mlp = MlpBlock(width, mlp_ratio)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]

    def _attention(self, x: Tensor) -> Tensor:
        if self.window_size is None:
            return self.attn(x)  # type: ignore[no-any-return]
        windows = to_windows(x, self.window_size)
        return from_windows(self.attn(windows), self.window_size, x.shape[1])


class ImageEncoderViT(nn.Module):
    """(B, 3, S, S) normalised image -> (B, decoder width, H, W) embedding and the global blocks' outputs.

    `before_block(i)` gives what is added to the input of block i, or None: the door for prompts and CNN features.
    Without it this is SAM's encoder as published.
    """

    def __init__(
        self,
        *,
        grid: int,
        patch_size: int,
        width: int,
        depth: int,
        heads: int,
        mlp_ratio: int,
        global_blocks: tuple[int, ...],
        window_size: int,
        output_width: int,
    ) -> None:
        super().__init__()
        self.global_blocks = global_blocks
        self.patch_embed = PatchEmbed(patch_size, width)
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, grid, grid, width))
        self.blocks = nn.ModuleList(
            Block(width, heads, mlp_ratio, grid, None if i in global_blocks else window_size) for i in range(depth)
        )
        self.neck = nn.Sequential(
            nn.Conv2d(width, output_width, 1, bias=False),
            LayerNorm2d(output_width),
            nn.Conv2d(output_width, output_width, 3, padding=1, bias=False),
            LayerNorm2d(output_width),
        )

    def forward(
        self, images: Tensor, before_block: Callable[[int], Tensor | None] = lambda _: None
    ) -> tuple[Tensor, list[Tensor]]:
        x = self.patch_embed(images) + self.pos_embed
        global_outputs = []
        for index, block in enumerate(self.blocks):
            addition = before_block(index)
            x = block(x if addition is None else x + addition)
            if index in self.global_blocks:
                global_outputs.append(x)
        return self.neck(x.permute(0, 3, 1, 2)), global_outputs


def to_windows(x: Tensor, side: int) -> Tensor:
    """(B, H, W, C) -> (B * windows, side, side, C), zeros added at bottom and right.

    The added tokens take part in attention, as in SAM: its weights were trained so.
    """
    batch, grid, _, channels = x.shape
    count = -(-grid // side)
    x = F.pad(x, (0, 0, 0, count * side - grid, 0, count * side - grid))
    x = x.reshape(batch, count, side, count, side, channels).transpose(2, 3)
    return x.reshape(batch * count * count, side, side, channels)


def from_windows(windows: Tensor, side: int, grid: int) -> Tensor:
    """Inverse of `to_windows`; the added tokens are cut off."""
    count = -(-grid // side)
    channels = windows.shape[-1]
    x = windows.reshape(-1, count, count, side, side, channels).transpose(2, 3)
    return x.reshape(-1, count * side, count * side, channels)[:, :grid, :grid]


def _row_and_column_codes(side: int) -> Tensor:
    """(T, 2 side): one-hot of each token's row, then of its column."""
    rows = torch.eye(side).repeat_interleave(side, dim=0)
    columns = torch.eye(side).repeat(side, 1)
    return torch.cat([rows, columns], dim=1)

"""SAM's image encoder: a plain ViT with relative positions, most blocks attending within windows.

Follows segment_anything/modeling/image_encoder.py (Meta AI, Apache-2.0), same parameter names.
Shapes: B images (or windows), H = W = grid of tokens, side of the grid or window, T = side * side, C width,
h heads, c head width.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.attention import attend_with_positions, is_plain_cpu_run
from models.layers import LayerNorm2d

EPS = 1e-6

STRIP_ROWS = 14
"""Rows of tokens that go through a block together, where no window says how many."""


class PatchEmbed(nn.Module):
    """(B, 3, S, S) image -> (B, H, W, C) tokens."""

    def __init__(self, patch_size: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch_size, patch_size)

    def forward(self, images: Tensor) -> Tensor:
        return self.proj(images).permute(0, 2, 3, 1)  # type: ignore[no-any-return]


class RelativeAttention(nn.Module):
    """Self-attention whose logits see how far apart two tokens stand, over the whole grid or within windows.

    logits = (q . k) / sqrt(c) + q . Rh[yq - yk + side - 1] + q . Rw[xq - xk + side - 1], q unscaled in the last two.
    Windows that reach over the grid's edge are filled with tokens of zeros. These take part, as in SAM, whose
    weights were trained so; their q, k and v are the bias alone, so no product is spent on them.
    """

    offsets: Tensor

    def __init__(self, width: int, heads: int, grid: int, window_size: int | None) -> None:
        super().__init__()
        self.heads = heads
        self.window_size = window_size
        side, head_width = window_size or grid, width // heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * side - 1, head_width))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * side - 1, head_width))
        places = torch.arange(side)
        self.register_buffer("offsets", places[:, None] - places + side - 1, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> the same; H may be less than the grid when rows are cut between windows."""
        qkv = self.qkv(x)
        if self.window_size is None:
            mixed = self.mix(qkv)
        else:
            windows = to_windows(qkv, self.window_size, self.qkv.bias)
            mixed = from_windows(self.mix(windows), self.window_size, x.shape[1], x.shape[2])
        return self.proj(mixed)  # type: ignore[no-any-return]

    def mix(self, qkv: Tensor) -> Tensor:
        """(B, side, side, 3C) -> (B, side, side, C)"""
        batch, side, _, channels = qkv.shape
        head_width = channels // 3 // self.heads
        by_head = qkv.reshape(batch, side * side, 3, self.heads, head_width).permute(2, 0, 3, 1, 4)
        q, k, v = by_head.unbind(0)
        mixed = attend_with_positions(q * head_width**-0.5, k, v, *self._position_terms(q))
        return mixed.transpose(1, 2).reshape(batch, side, side, channels // 3)

    def _position_terms(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """(B, h, T, c) -> twice (B, h, T, side): for each query, its term for every row and every column."""
        side = self.offsets.shape[0]
        q_grid = q.reshape(*q.shape[:2], side, side, q.shape[-1])
        to_rows = q_grid @ self.rel_pos_h[self.offsets].mT
        to_columns = (q_grid.transpose(2, 3) @ self.rel_pos_w[self.offsets].mT).transpose(2, 3)
        return to_rows.flatten(2, 3), to_columns.flatten(2, 3)


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
        self.norm1 = nn.LayerNorm(width, eps=EPS)
        self.attn = RelativeAttention(width, heads, grid, window_size)
        self.norm2 = nn.LayerNorm(width, eps=EPS)
        self.mlp = MlpBlock(width, mlp_ratio)

    def forward(self, x: Tensor) -> Tensor:
        if is_plain_cpu_run(x):
            return self._in_strips(x)
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]

    def _in_strips(self, x: Tensor) -> Tensor:
        """The same, a strip of rows at a time: what passes between two layers stays in the CPU's cache.

        Attention within windows sees no more than its strip; attention over the grid is done before.
        """
        window_size = self.attn.window_size
        if window_size is None:
            x = x + self.attn(self.norm1(x))
        rows = window_size or STRIP_ROWS
        result = torch.empty_like(x)
        for strip, finished in zip(torch.split(x, rows, dim=1), torch.split(result, rows, dim=1), strict=True):
            mixed = strip if window_size is None else strip + self.attn(self.norm1(strip))
            torch.add(mixed, self.mlp(self.norm2(mixed)), out=finished)
        return result


class ImageEncoderViT(nn.Module):
    """(B, 3, S, S) normalised image -> (B, decoder width, H, W) embedding and the global blocks' outputs.

    `before_block(i)` gives what is added to the input of block i, or None: the entry for prompts and CNN features.
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


def to_windows(x: Tensor, side: int, filling: Tensor) -> Tensor:
    """(B, H, W, C) -> (B * windows, side, side, C), with `filling` (C,) beyond the right and bottom edges."""
    batch, height, width, channels = x.shape
    rows, columns = -(-height // side), -(-width // side)
    if beyond := columns * side - width:
        x = torch.cat([x, filling.expand(batch, height, beyond, channels)], dim=2)
    if beyond := rows * side - height:
        x = torch.cat([x, filling.expand(batch, beyond, columns * side, channels)], dim=1)
    x = x.reshape(batch, rows, side, columns, side, channels).transpose(2, 3)
    return x.reshape(batch * rows * columns, side, side, channels)


def from_windows(windows: Tensor, side: int, height: int, width: int) -> Tensor:
    """Inverse of `to_windows`; what was filled in is cut off."""
    rows, columns = -(-height // side), -(-width // side)
    channels = windows.shape[-1]
    x = windows.reshape(-1, rows, columns, side, side, channels).transpose(2, 3)
    return x.reshape(-1, rows * side, columns * side, channels)[:, :height, :width]

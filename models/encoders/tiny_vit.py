"""MobileSAM's image encoder, TinyViT: four stages, the first of convolutions, the others attending within windows.

Follows mobile_sam/modeling/tiny_vit_sam.py (MobileSAM, Apache-2.0; TinyViT, Microsoft, MIT), same parameter names, but
that each batch norm is folded into its convolution (`models.pretrained.sam` folds those of official files).
There is no position embedding, so any image whose sides are multiples of 32 runs.
Shapes: B images (or windows), H, W grid of a stage, side of a window, T = side * side, C width, h heads, c head width.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.attention import attend_with_table
from models.encoders.vit import from_windows, to_windows
from models.layers import LayerNorm2d

EXPANSION = 4
"""Of the inverted bottlenecks in the first stage, and of every MLP."""


class PatchEmbed(nn.Module):
    """(B, 3, S, S) normalised image -> (B, C, S/4, S/4)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(nn.Conv2d(3, width // 2, 3, 2, 1), nn.GELU(), nn.Conv2d(width // 2, width, 3, 2, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.seq(images)  # type: ignore[no-any-return]


class MBConv(nn.Module):
    """Inverted bottleneck on (B, H, W, C): widen, 3 x 3 depthwise, narrow, beside a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = EXPANSION * width
        self.conv1 = nn.Conv2d(width, hidden, 1)
        self.conv2 = nn.Conv2d(hidden, hidden, 3, 1, 1, groups=hidden)
        self.conv3 = nn.Conv2d(hidden, width, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        x = tokens.permute(0, 3, 1, 2)
        y = self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))
        return F.gelu(x + y).permute(0, 2, 3, 1)


class PatchMerging(nn.Module):
    """(B, H, W, C) -> (B, H / stride, W / stride, new width)."""

    def __init__(self, width: int, new_width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, new_width, 1)
        self.conv2 = nn.Conv2d(new_width, new_width, 3, stride, 1, groups=new_width)
        self.conv3 = nn.Conv2d(new_width, new_width, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        x = F.gelu(self.conv1(tokens.permute(0, 3, 1, 2)))
        return self.conv3(F.gelu(self.conv2(x))).permute(0, 2, 3, 1)  # type: ignore[no-any-return]


class WindowAttention(nn.Module):
    """Attention within windows; the logits see how far apart two tokens stand, by one learned number per offset.

    A window that reaches over the grid's edge is filled with tokens of zeros **before** the norm, and they take part.
    Their q, k and v are the same everywhere, so no product is spent on them.
    """

    offsets: Tensor

    def __init__(self, width: int, heads: int, window_size: int) -> None:
        super().__init__()
        self.heads = heads
        self.window_size = window_size
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window_size**2))
        self.register_buffer("offsets", absolute_offsets(window_size), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> the same"""
        _, height, width, channels = x.shape
        side = self.window_size
        windows = to_windows(self.qkv(self.norm(x)), side, self.qkv(self.norm.bias))
        by_head = windows.reshape(-1, side * side, self.heads, 3, channels // self.heads).permute(3, 0, 2, 1, 4)
        q, k, v = by_head.unbind(0)
        mixed = attend_with_table(q * q.shape[-1] ** -0.5, k, v, self.attention_biases[:, self.offsets])
        mixed = mixed.transpose(1, 2).reshape(-1, side, side, channels)
        return self.proj(from_windows(mixed, side, height, width))  # type: ignore[no-any-return]


class Mlp(nn.Module):
    """Norm, then two linear layers with exact GELU between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, EXPANSION * width)
        self.fc2 = nn.Linear(EXPANSION * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(self.norm(x))))  # type: ignore[no-any-return]


class TinyViTBlock(nn.Module):
    """(B, H, W, C): attention within windows, a depthwise convolution across their borders, and an MLP."""

    def __init__(self, width: int, heads: int, window_size: int) -> None:
        super().__init__()
        self.attn = WindowAttention(width, heads, window_size)
        self.local_conv = nn.Conv2d(width, width, 3, 1, 1, groups=width)
        self.mlp = Mlp(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(x)
        x = self.local_conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return x + self.mlp(x)  # type: ignore[no-any-return]


class Stage(nn.Module):
    """Some blocks, and what leads to the next stage."""

    def __init__(self, blocks: list[nn.Module], downsample: PatchMerging | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample


class TinyViT(nn.Module):
    """(B, 3, S, S) normalised image -> (B, output width, S/16, S/16) embedding and the early features.

    Blocks are counted through all stages. `before_block(i)` gives what is added to the (B, H, W, C) input of block i,
    or None. Without it this is MobileSAM's encoder as published.
    """

    def __init__(
        self,
        *,
        widths: tuple[int, ...],
        depths: tuple[int, ...],
        heads: tuple[int, ...],
        windows: tuple[int, ...],
        output_width: int,
    ) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(widths[0])
        strides = (*(2 for _ in widths[:-2]), 1)
        self.layers = nn.ModuleList()
        for number, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            blocks: list[nn.Module] = [
                MBConv(width) if number == 0 else TinyViTBlock(width, heads[number], windows[number])
                for _ in range(depth)
            ]
            last = number == len(widths) - 1
            merging = None if last else PatchMerging(width, widths[number + 1], strides[number])
            self.layers.append(Stage(blocks, merging))
        self.neck = nn.Sequential(
            nn.Conv2d(widths[-1], output_width, 1, bias=False),
            LayerNorm2d(output_width),
            nn.Conv2d(output_width, output_width, 3, padding=1, bias=False),
            LayerNorm2d(output_width),
        )

    def forward(
        self, images: Tensor, before_block: Callable[[int], Tensor | None] = lambda _: None
    ) -> tuple[Tensor, Tensor]:
        return self.from_patches(self.patch_embed(images), before_block)

    def from_patches(self, patches: Tensor, before_block: Callable[[int], Tensor | None]) -> tuple[Tensor, Tensor]:
        """`patches` (B, C, S/4, S/4) of `patch_embed` -> embedding, and stage 1's output (B, S/8, S/8, C)."""
        x = patches.permute(0, 2, 3, 1)
        index, outputs = 0, []
        for stage in self.layers:
            for block in stage.blocks:  # type: ignore[union-attr]
                addition = before_block(index)
                x = block(x if addition is None else x + addition)
                index += 1
            outputs.append(x)
            if stage.downsample is not None:
                x = stage.downsample(x)  # type: ignore[operator]
        return self.neck(x.permute(0, 3, 1, 2)), outputs[1]


def absolute_offsets(side: int) -> Tensor:
    """(T, T): |row distance| * side + |column distance| of two places of a window."""
    places = torch.arange(side)
    distance = (places[:, None] - places).abs()
    rows = distance[:, None, :, None] * side
    return (rows + distance[None, :, None, :]).reshape(side * side, side * side)

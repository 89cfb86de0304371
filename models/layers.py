"""Small layers that several parts share, named as in SAM so that its weights keep their keys.

Design from segment_anything/modeling/common.py and mask_decoder.py (Meta AI, Apache-2.0).
"""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.configuration import CnnNorm


class LayerNorm2d(nn.Module):
    """Normalises the channels of each pixel of a (B, C, H, W) map."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class MLP(nn.Module):
    """Linear layers with ReLU between them: turns a decoder token into the weights of a mask."""

    def __init__(self, input_width: int, hidden_width: int, output_width: int, depth: int) -> None:
        super().__init__()
        widths = [input_width, *[hidden_width] * (depth - 1), output_width]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)  # type: ignore[no-any-return]


class FixedBatchNorm2d(nn.Module):
    """A batch norm that keeps the statistics it was given: for weights trained on many images and tuned on few."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)


GROUPS = 8


def norm_maker(kind: CnnNorm, eps: float = 1e-5) -> Callable[[int], nn.Module]:
    """Channels to a norm of that kind; groups are for batches too small for statistics over images."""
    if kind == "batch":
        return lambda channels: nn.BatchNorm2d(channels, eps=eps)
    if kind == "fixed":
        return lambda channels: FixedBatchNorm2d(channels, eps)
    return lambda channels: nn.GroupNorm(GROUPS, channels)


def weight_and_bias(layer: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Both, for a layer that was built with a bias."""
    if layer.bias is None:
        raise ValueError(f"{layer} has no bias; it must be built with one")
    return layer.weight, layer.bias


def upscaler(input_width: int, hidden_width: int, output_width: int, times: int = 4) -> nn.Sequential:
    """Four times the height and width by two transposed convolutions; twice by one of them and a plain one."""
    last = nn.ConvTranspose2d if times == 4 else nn.Conv2d
    kernel = 2 if times == 4 else 1
    return nn.Sequential(
        nn.ConvTranspose2d(input_width, hidden_width, kernel_size=2, stride=2),
        LayerNorm2d(hidden_width),
        nn.GELU(),
        last(hidden_width, output_width, kernel_size=kernel, stride=kernel),
    )


def resize_map(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear with half-pixel centres and no antialias, the one resampling the reference uses."""
    if x.shape[-2:] == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)

"""A memory of what a pretrained encoder sees at the places of good parts, and the distance to it.

After PatchCore (Roth et al., "Towards Total Recall in Industrial Anomaly Detection", CVPR 2022), with features
whitened, so that directions in which good parts hardly vary count as much as others. A product of matrices and a
minimum, with static shapes, so that it exports like F2P-Net.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SHRINKAGE = 0.01
"""Share of the mean variance that is added to every direction before whitening."""
PROJECTED = 64
"""Width of the random projection in which the coreset is chosen, as in PatchCore."""
PATCH = 3


class PlaceMemory(nn.Module):
    """`size` remembered places with `width` features each."""

    mean: Tensor
    whitening: Tensor
    bank: Tensor
    scale: Tensor

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("whitening", torch.eye(width))
        self.register_buffer("bank", torch.zeros(size, width))
        self.register_buffer("scale", torch.tensor([0.0, 1.0]))

    def fill(self, places: Tensor, seed: int) -> None:
        """Learn mean and whitening from places (N, C) of good images, and remember a coreset of them."""
        self.mean.copy_(places.mean(0))
        covariance = torch.cov(places.T)
        values, vectors = torch.linalg.eigh(covariance)
        values = values.clamp_min(0) + SHRINKAGE * covariance.diagonal().mean()
        self.whitening.copy_(vectors * values.rsqrt())
        whitened = self.whitened(places)
        chosen = whitened[coreset(whitened, len(self.bank), seed)]
        self.bank.copy_(torch.cat([chosen, chosen[:1].expand(len(self.bank) - len(chosen), -1)]))

    def standardise(self, distances: Tensor) -> None:
        """Take mean and deviation of these distances, of good images, as 0 and 1 of `forward`."""
        self.scale.copy_(torch.stack([distances.mean(), distances.std().clamp_min(1e-6)]))

    def whitened(self, places: Tensor) -> Tensor:
        return (places - self.mean) @ self.whitening

    def distances(self, places: Tensor) -> Tensor:
        """(B, N, C) -> (B, N), to the nearest remembered place."""
        query = self.whitened(places)
        squares = query.square().sum(-1) + (self.bank.square().sum(-1) - 2 * query @ self.bank.T).amin(-1)
        return squares.clamp_min(0).sqrt()

    def forward(self, places: Tensor) -> Tensor:
        """(B, N, C) -> (B, N): how unusual each place is, about 0 on good images, in standard deviations of theirs."""
        return (self.distances(places) - self.scale[0]) / self.scale[1]


def places_of(maps: Sequence[Tensor], side: int) -> Tensor:
    """(B, side^2, C) what an encoder's maps (B, C, H, W) hold at each place of a grid, and around it."""
    pooled = [F.avg_pool2d(one, PATCH, 1, PATCH // 2, count_include_pad=False) for one in maps]
    joined = [F.interpolate(one, (side, side), mode="bilinear", align_corners=False) for one in pooled]
    return torch.cat(joined, 1).flatten(2).transpose(1, 2)


def coreset(points: Tensor, size: int, seed: int) -> Tensor:
    """Indices of up to `size` of N points (N, C), each the farthest from those before, in a random projection."""
    generator = torch.Generator().manual_seed(seed)
    width = min(PROJECTED, points.shape[1])
    flat = points @ torch.randn(points.shape[1], width, generator=generator) / width**0.5
    nearest = torch.full((len(flat),), torch.inf)
    chosen = [0]
    for _ in range(min(size, len(flat)) - 1):
        nearest = torch.minimum(nearest, (flat - flat[chosen[-1]]).square().sum(1))
        chosen.append(int(nearest.argmax()))
    return torch.tensor(chosen)

"""What every baseline has in common: F2P-Net's face towards the loop, and the same kind of heads.

A baseline's body ends in `FEATURES` channels. As in F2P-Net, a 1 x 1 convolution reads the mask from them, and a linear
layer reads the image score, here from their strongest and their mean response.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models import preprocessing
from models.configuration import SecondPass
from models.decoders.afdec import Predictions
from models.decoders.prompts import Prompts

FEATURES = 16


@dataclass(frozen=True)
class BaselineConfig:
    """One baseline: its name in `training.networks.trainable.BASELINES` and the side of its input, pixels."""

    network: str
    image_size: int
    num_classes: int = 0
    second_pass: SecondPass = "none"  # noqa: S105 (no password)


class Baseline(nn.Module):
    """`body`: (B, 3, S, S) normalised images -> (B, FEATURES, h, w)."""

    def __init__(self, config: BaselineConfig, body: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.body = body
        self.mask_head = nn.Conv2d(FEATURES, 1, 1)
        self.image_head = nn.Linear(2 * FEATURES, 1)

    def forward(self, images: Tensor) -> Predictions:
        return self.decode(self.encode(images))

    def encode(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) float RGB in 0..255 -> features."""
        side = self.config.image_size
        if images.dim() != 4 or images.shape[1:] != (3, side, side):
            raise ValueError(f"images are {tuple(images.shape)}; this network takes (B, 3, {side}, {side})")
        return self.body(preprocessing.normalise(images))  # type: ignore[no-any-return]

    def decode(self, features: Tensor, prompts: Prompts | None = None) -> Predictions:
        """The mask stands for the pixel map too. Raises ValueError for prompts, which only F2P-Net understands."""
        if prompts is not None:
            raise ValueError(f"{self.config.network} takes no prompts; set prompted_share to 0")
        mask = self.mask_head(features)
        pooled = torch.cat([features.amax(dim=(2, 3)), features.mean(dim=(2, 3))], dim=1)
        return Predictions(mask, mask, self.image_head(pooled)[:, 0], None)

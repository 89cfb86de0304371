"""U-Net from MONAI, with residual units, sized like F2P-Net nano."""

from __future__ import annotations

from monai.networks.nets import UNet
from torch import nn

from training.networks.baseline import FEATURES

WIDTHS = (16, 32, 64, 176, 432)


def unet() -> nn.Module:
    """Random weights. Five levels, the first at half the input's resolution, as MONAI builds it."""
    return UNet(
        spatial_dims=2,
        in_channels=3,
        out_channels=FEATURES,
        channels=WIDTHS,
        strides=(2, 2, 2, 2),
        num_res_units=2,
        norm="BATCH",
    )

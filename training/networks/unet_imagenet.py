"""What an engineer would try first: a U-Net on an ImageNet encoder, from segmentation-models-pytorch and timm.

The encoder is EfficientNet-Lite0, the CNN of F2P-Net's `vit_t`, with the same weights; its batch norms keep their
statistics, as there. The decoder is the library's, as it comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from f2pnet.errors import MissingResource
from models.files.weights import fill
from models.preprocessing import LITE_MEAN, LITE_STD, PIXEL_MEAN, PIXEL_STD
from training.networks.baseline import FEATURES
from training.networks.torchvision_names import stand_in_for_torchvision

ENCODER = "tu-tf_efficientnet_lite0"  # "tu-": by timm


class UNetImageNet(nn.Module):
    """(B, 3, S, S) images normalised as for SAM -> (B, FEATURES, S, S)."""

    def __init__(self) -> None:
        super().__init__()
        stand_in_for_torchvision()
        try:
            import segmentation_models_pytorch
        except ModuleNotFoundError as error:
            raise MissingResource(
                f"the baseline 'unet_imagenet' needs {error.name}: "
                "pip install --no-deps segmentation-models-pytorch timm"
            ) from error

        network: Any = segmentation_models_pytorch.Unet(ENCODER, encoder_weights=None, classes=FEATURES)
        self.encoder: nn.Module = network.encoder
        self.decoder: nn.Module = network.decoder
        self.segmentation_head: nn.Module = network.segmentation_head

    def forward(self, images: Tensor) -> Tensor:
        mean, std = (images.new_tensor(values).reshape(3, 1, 1) for values in (PIXEL_MEAN, PIXEL_STD))
        stages = self.encoder((images * std + (mean - LITE_MEAN)) / LITE_STD)
        return self.segmentation_head(self.decoder(stages))  # type: ignore[no-any-return]

    def train(self, mode: bool = True) -> UNetImageNet:
        """The encoder's batch norms keep what ImageNet taught them, as in F2P-Net: a few images would spoil it."""
        super().train(mode)
        for module in self.encoder.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def start_encoder(self, tensors: Mapping[str, Tensor], source: str) -> None:
        """Give the encoder the tensors of `models.pretrained.read_cnn`. Raises CheckpointError where they don't fit."""
        own: Any = self.encoder.model
        counters = {name: value for name, value in own.state_dict().items() if name.endswith("num_batches_tracked")}
        fill(own, {**tensors, **counters}, source)


def unet_imagenet() -> nn.Module:
    """Random weights, until `start_encoder` is called."""
    return UNetImageNet()

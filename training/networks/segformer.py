"""SegFormer-B0 from Hugging Face transformers (Xie et al., 2021), without its pre-training."""

from __future__ import annotations

from torch import Tensor, nn
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from training.networks.baseline import FEATURES


class _Logits(nn.Module):
    """The library's model, without the wrapping of its answer."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images).logits  # type: ignore[no-any-return]


def segformer() -> nn.Module:
    """Random weights; the defaults of `SegformerConfig` are B0. Features at a quarter of the input's resolution."""
    return _Logits(SegformerForSemanticSegmentation(SegformerConfig(num_labels=FEATURES)))

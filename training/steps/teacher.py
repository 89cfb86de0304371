"""Distillation: a trained network's answers, which a smaller one learns beside the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from models.decoders.afdec import Predictions
from models.deploy import AutoNetwork
from training.networks.trainable import read_network
from training.steps.losses import resize_logits


class Taught(NamedTuple):
    """Probabilities that the teacher gives, M its map size."""

    mask: Tensor
    """(B, 1, M, M), after its second pass where it has one"""
    pixel_map: Tensor
    """(B, 1, M, M)"""
    score: Tensor
    """(B,)"""


class Teacher:
    """A checkpoint of any size and input; it takes no gradient and is not part of what is trained."""

    def __init__(self, path: Path, device: torch.device) -> None:
        network: Any = read_network(path)[0]
        self._side: int = network.config.image_size
        self._network = AutoNetwork(network).to(device).eval()

    @torch.no_grad()
    def answers(self, images: Tensor) -> Taught:
        """(B, 3, S, S) RGB 0..255, brought to the teacher's own size."""
        if images.shape[-1] != self._side:
            images = F.interpolate(images, (self._side, self._side), mode="bilinear", align_corners=False)
        mask, pixel_map, score = self._network(images.permute(0, 2, 3, 1))[:3]
        return Taught(mask[:, None], pixel_map[:, None], score)


def taught_loss(found: Predictions, taught: Taught) -> Tensor:
    """Cross entropy of mask, pixel map and score with the teacher's probabilities, added up; a scalar."""
    maps = ((found.mask_logits, taught.mask), (found.pixel_logits, taught.pixel_map))
    losses = [
        F.binary_cross_entropy_with_logits(resize_logits(logits.float(), wanted), wanted) for logits, wanted in maps
    ]
    return sum(losses, F.binary_cross_entropy_with_logits(found.image_logits.float(), taught.score))

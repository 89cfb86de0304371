"""A moving average of the weights: calmer than the last step's, and the ones that are kept."""

from __future__ import annotations

import copy

import torch
from torch import nn


class AveragedWeights:
    """Follows a network; `network` is a copy that holds the average and is always in evaluation mode."""

    def __init__(self, source: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(source).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def follow(self, source: nn.Module, step: int) -> None:
        """Take in the weights after `step`. Early on the average is short, so that the start weights fade quickly."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for kept, new in zip(self.network.state_dict().values(), source.state_dict().values(), strict=True):
            if kept.dtype.is_floating_point:
                kept.lerp_(new, 1 - decay)
            else:
                kept.copy_(new)

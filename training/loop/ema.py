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
        pairs = list(zip(self.network.state_dict().values(), source.state_dict().values(), strict=True))
        floats = [pair for pair in pairs if pair[0].dtype.is_floating_point]
        # One call for all of them: a small network is slowed down by the number of calls, not by their work.
        torch._foreach_lerp_([kept for kept, _ in floats], [new for _, new in floats], 1 - decay)
        for kept, new in pairs:
            if not kept.dtype.is_floating_point:
                kept.copy_(new)

"""The losses of one step: a pass without prompts on every image, sometimes a second one with prompts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from models.f2pnet import F2PNet
from training.batches import Batch, step_generator
from training.losses import image_loss, mask_loss
from training.prompts import draw_prompts
from training.recipe import TrainingRecipe

BATCH, PROMPT = 0, 1  # purposes of a step's random numbers


@dataclass(frozen=True)
class StepLosses:
    """The terms of one step, each a scalar; `prompted` is None on steps without a second pass."""

    mask: Tensor
    pixel: Tensor
    image: Tensor
    prompted: Tensor | None

    def total(self, recipe: TrainingRecipe) -> Tensor:
        weights = recipe.losses
        total = weights.mask * self.mask + weights.pixel * self.pixel + weights.image * self.image
        return total if self.prompted is None else total + weights.prompted * self.prompted

    def values(self) -> dict[str, float]:
        """Plain numbers for the log."""
        terms = {"mask": self.mask, "pixel": self.pixel, "image": self.image, "prompted": self.prompted}
        return {name: round(term.item(), 5) for name, term in terms.items() if term is not None}


def step_losses(network: F2PNet, batch: Batch, recipe: TrainingRecipe, step: int) -> StepLosses:
    """Both passes share one run of the encoder. The image loss belongs to the pass without prompts alone (D3)."""
    with torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bf16"):
        encoded = network.encode(batch.images.contiguous(memory_format=torch.channels_last))
        free = network.decode(encoded)
        rng = step_generator(recipe.seed, step, PROMPT)
        with_prompts = rng.random() < recipe.prompted_share
        if with_prompts:
            prompts, targets = draw_prompts(batch.masks, free.mask_logits.float(), rng)
            answered = network.decode(encoded, prompts)
    dice_on_good = recipe.losses.dice_on_good
    return StepLosses(
        mask=mask_loss(free.mask_logits.float(), batch.masks, dice_on_good=dice_on_good),
        pixel=mask_loss(free.pixel_logits.float(), batch.masks, dice_on_good=dice_on_good),
        image=image_loss(free.image_logits.float(), batch.labels),
        prompted=mask_loss(answered.mask_logits.float(), targets, dice_on_good=dice_on_good) if with_prompts else None,
    )

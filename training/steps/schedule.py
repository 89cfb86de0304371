"""The learning rate of a step: a linear warm-up, then one half cosine over all remaining steps."""

from __future__ import annotations

import math

from training.recipe import TrainingRecipe


def learning_rate(step: int, recipe: TrainingRecipe) -> float:
    """For step 0 .. steps-1; it never rises again after the warm-up (docs/network.md, D16)."""
    if step < recipe.warmup_steps:
        return recipe.learning_rate * (step + 1) / recipe.warmup_steps
    progress = (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
    fall = (1 + math.cos(math.pi * min(progress, 1.0))) / 2
    return recipe.final_learning_rate + (recipe.learning_rate - recipe.final_learning_rate) * fall

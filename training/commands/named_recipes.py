"""Recipes that have a name: `f2p train --recipe NAME`. What a recipe file or an option says goes before them."""

from __future__ import annotations

from f2pnet.errors import ConfigError
from training.recipe import Augmentation, LearningRates, LossWeights, TrainingRecipe

DEFAULT = TrainingRecipe()

REFERENCE = TrainingRecipe(
    prompts="reference",
    pixel_target="first_object",
    mask_rule="reference",
    select_on="test",
    steps=2000,
    stop_after=1600,
    batch=4,
    warmup_steps=0,
    clip_norm=None,
    ema_decay=0.0,
    losses=LossWeights(dice_on_good=True),
    augmentation=Augmentation(
        flips=True, scale=0, aspect=0, shift=0, exposure=0, contrast=0, shading=0, noise=0, blur_px=0
    ),
    evaluate_every=160,
)
"""How the published code trains on 64 shots (docs/network.md), for comparison with published numbers.

100 epochs of 64 images, four in a step, in mid-fall of a cosine over 2000 steps; the checkpoint is chosen on the test
list. Its network (`decoder=reference`, vit_l at 1024 px, SAM's weights) is not part of it: name `sam_type` and
`image_size` in a recipe file. Images are drawn with replacement, so an epoch is a count, and flips are drawn anew in
each (D16).
"""

FINE_TUNE = TrainingRecipe(
    sam_type="vit_t",
    image_size=224,
    resize="letterbox",
    defective_share=0.8,
    even_classes=True,
    precision="auto",
    steps=2400,
    batch=4,
    warmup_steps=50,
    learning_rate=1e-3,
    rates=LearningRates(vit=0.1, cnn=0.3, decoder=0.1),
    weight_decay=0.01,
    ema_decay=0.995,
    prompted_share=0.0,
    losses=LossWeights(positive_start=10.0),
    augmentation=Augmentation(
        rotation_deg=15,
        scale=0.25,
        aspect=0.15,
        shift=0.1,
        exposure=0.2,
        contrast=0.2,
        shading=0.0,
        noise=0.02,
        blur_px=0.7,
    ),
    evaluate_every=300,
)
"""From pretrained weights, on more than a few images. Why these values: docs/benchmarks/experiments.md."""

FEW_SHOT = FINE_TUNE.model_copy(
    update={
        "folds": 2,
        "fold_share": 0.5,
        "steps": 480,
        "warmup_steps": 25,
        "ema_decay": 0.99,
        "evaluate_every": 480,
        "losses": LossWeights(),
        "augmentation": Augmentation(
            rotation_deg=10, scale=0.2, aspect=0.1, shift=0.1, exposure=0.2, contrast=0.2, shading=0, noise=0, blur_px=0
        ),
    }
)
"""From pretrained weights, on so few images that none should be held out. A short run: what is drawn anew must not vary
too much for the network to settle."""

FEW_SHOT_FROM_SCRATCH = TrainingRecipe(
    sam_type="nano",
    image_size=256,
    steps=400,
    batch=8,
    warmup_steps=30,
    evaluate_every=100,
    augmentation=Augmentation(synthetic=0.3),
)
"""A first look in ten minutes on two CPU cores, where no pretrained weights are at hand."""

NAMED = {
    "default": DEFAULT,
    "fine-tune": FINE_TUNE,
    "few-shot": FEW_SHOT,
    "few-shot-from-scratch": FEW_SHOT_FROM_SCRATCH,
    "reference": REFERENCE,
}


def named_recipe(name: str, changes: TrainingRecipe) -> TrainingRecipe:
    """The recipe of this name, with everything that `changes` sets. Raises ConfigError for an unknown name."""
    if name not in NAMED:
        raise ConfigError(f"--recipe is '{name}', wanted one of: {', '.join(NAMED)}")
    own = {key: getattr(NAMED[name], key) for key in NAMED[name].model_fields_set}
    said = {key: getattr(changes, key) for key in changes.model_fields_set}
    return TrainingRecipe.model_validate(own | said)

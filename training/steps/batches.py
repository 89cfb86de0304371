"""Which images a step sees: a function of recipe, data and step alone, so a resumed run goes on as if uncut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from training.data.images import ImageSet, Pixels
from training.recipe import Augmentation
from training.steps.augment import augment
from training.steps.losses import NO_CLASS
from training.steps.synthetic import DefectDonors


@dataclass(frozen=True)
class Batch:
    """`images` (B, 3, S, S) RGB 0..255, `masks` (B, 1, S, S) 0 or 1, `labels` (B,) 0 good, 1 defective; all float.

    A label follows the moved mask: where a shift pushed the last defect out of the picture, the picture is good.
    `classes` (B, S, S) int64 holds the class of each defective pixel, NO_CLASS elsewhere; None without a class map.
    `ignored` (B, 1, S, S) bool marks pixels that count neither as defect nor as background; None where there are none.
    """

    images: torch.Tensor
    masks: torch.Tensor
    labels: torch.Tensor
    classes: torch.Tensor | None = None
    ignored: torch.Tensor | None = None

    def of(self, images: slice) -> Batch:
        """Some of the images."""
        classes = None if self.classes is None else self.classes[images]
        ignored = None if self.ignored is None else self.ignored[images]
        return Batch(self.images[images], self.masks[images], self.labels[images], classes, ignored)


def draw_weights(
    images: ImageSet, weight: float, defective_share: float | None, even_classes: bool = False
) -> np.ndarray:
    """The chance of each image of one data set to be drawn; they sum to `weight`.

    With `even_classes` the classes of defective images share evenly in what defective images have together.
    """
    labels = np.array([record.label for record in images.records])
    names = np.array([record.class_name for record in images.records])
    chances = np.full(len(labels), 1 / len(labels))
    if defective_share is not None and 0 < labels.sum() < len(labels):
        chances = np.where(labels == 1, defective_share / labels.sum(), (1 - defective_share) / (1 - labels).sum())
    if even_classes and labels.any():
        defective, classes = chances[labels == 1].sum(), sorted(set(names[labels == 1]))
        for name in classes:
            of_class = (labels == 1) & (names == name)
            chances[of_class] = defective / len(classes) / of_class.sum()
    return np.asarray(weight * chances)


def step_generator(seed: int, step: int, purpose: int) -> np.random.Generator:
    """Random numbers of one step, independent of all others; `purpose` keeps its uses apart."""
    return np.random.default_rng([seed, step, purpose])


def draw_batch(
    images: ImageSet, weights: np.ndarray, size: int, change: Augmentation, rng: np.random.Generator
) -> Batch:
    """`size` augmented images, drawn by `weights` with replacement."""
    chosen = rng.choice(len(images), size, p=weights / weights.sum())
    sources = [(images.images[i], images.masks[i]) for i in chosen]
    if change.synthetic:
        donors = DefectDonors(images)
        for place, i in enumerate(chosen):
            if not images.records[i].label and rng.random() < change.synthetic:
                sources[place] = donors.spoil(int(i), rng)
    drawn = [
        augment(image, mask, change, rng, _others(images, int(i)), images.filled[i])
        for (image, mask), i in zip(sources, chosen, strict=True)
    ]
    batch = as_batch([image for image, _, _ in drawn], [mask for _, mask, _ in drawn])
    if images.classes is not None:
        batch = replace(batch, classes=class_targets([others[0] for _, _, others in drawn], batch.masks))
    if images.ignored is not None:
        ignored = torch.from_numpy(np.stack([others[-1] for _, _, others in drawn])[:, None] > 0)
        batch = replace(batch, ignored=ignored & (batch.masks == 0))
    return batch


def _others(images: ImageSet, index: int) -> list[Pixels]:
    """The maps of an image that move with it: its classes, its ignored pixels, where the set has such."""
    classes = [] if images.classes is None else [images.classes[index]]
    if images.ignored is None:
        return classes
    ignored = images.ignored[index]
    return [*classes, np.zeros_like(images.masks[index]) if ignored is None else ignored]


def as_batch(images: Sequence[Pixels], masks: Sequence[Pixels]) -> Batch:
    """Stack images (S, S, 1 or 3) and masks (S, S) into tensors."""
    pixels = np.stack([np.broadcast_to(image, (*image.shape[:2], 3)) for image in images])
    targets = torch.from_numpy(np.stack(masks)[:, None].astype(np.float32))
    return Batch(
        images=torch.from_numpy(pixels.transpose(0, 3, 1, 2).astype(np.float32)),
        masks=targets,
        labels=targets.amax(dim=(1, 2, 3)),
    )


def class_targets(classes: Sequence[Pixels], masks: torch.Tensor) -> torch.Tensor:
    """Class masks (S, S; 0 none, 1 .. C) and masks (B, 1, S, S) to (B, S, S) int64: 0 .. C-1, NO_CLASS where good."""
    indices = torch.from_numpy(np.stack(classes).astype(np.int64)) - 1
    return torch.where((masks[:, 0] > 0) & (indices >= 0), indices, NO_CLASS)

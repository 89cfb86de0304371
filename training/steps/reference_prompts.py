"""Prompts as the published code draws them in training (docs/network.md, D3): always from the truth.

Every object gets a prompt, all prompts of an image are of one kind, and an image without an object gets none: that a
prompt is there reveals that a defect is there (D3). The objects are found at the network's size, where the
published code finds them at the image's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.decoders.prompts import POSITIVE, Prompts
from training.data.images import Pixels
from training.steps.prompts import KINDS, PromptKind, a_point

SMALLEST_AREA_PX, SMALLEST_SHARE = 20, 0.001
"""An object is larger than both: so many pixels, and this share of the image's largest."""
NOISE_SCALE = 8
CHANGED = 0.01


@dataclass(frozen=True)
class ReferencePrompt:
    """The prompts of an image's N objects, and `targets` (N, 1, S, S): without objects a single empty one."""

    kind: PromptKind | None
    targets: Tensor
    places: Tensor
    noise_seed: int

    def prompts(self, map_size: int, device: torch.device) -> Prompts | None:
        """For the network; None for an image without objects."""
        if self.kind is None:
            return None
        if self.kind == "mask":
            return Prompts.from_masks(noisy(self.targets, map_size, self.noise_seed)[None].to(device))
        places = self.places.to(device)[None]
        if self.kind == "box":
            return Prompts.from_boxes(places)
        return Prompts.from_points(places[:, :, None], places.new_full((*places.shape[:2], 1), POSITIVE).long())


def draw_reference_prompts(masks: Tensor, rng: np.random.Generator) -> list[ReferencePrompt]:
    """One for each image; `masks` (B, 1, S, S; 0 or 1) are the true unions."""
    return [_question(mask[0].numpy().astype(np.uint8), rng) for mask in masks]


def objects(mask: Pixels) -> list[Pixels]:
    """The 8-connected regions of a mask (S, S; 0 or 1) that are large enough, each a mask of its own."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    areas = stats[1:count, cv2.CC_STAT_AREA]
    smallest = max(SMALLEST_AREA_PX, SMALLEST_SHARE * areas.max(initial=0))
    return [np.asarray(labels == number + 1, np.uint8) for number in np.flatnonzero(areas > smallest)]


def first_objects(masks: Tensor) -> Tensor:
    """Of each mask (B, 1, S, S) the first object alone, the published code's target of the pixel map (D11)."""
    firsts = [next(iter(objects(np.asarray(mask[0].numpy(), np.uint8))), np.zeros(mask.shape[1:])) for mask in masks]
    return torch.from_numpy(np.stack(firsts)[:, None].astype(np.float32))


def noisy(targets: Tensor, size: int, seed: int) -> Tensor:
    """Objects (N, 1, S, S) as 0/1 at `size`, with noise where they change when made eight times smaller and back."""
    masks = F.interpolate(targets, (size, size), mode="bilinear", align_corners=False)
    coarse = F.interpolate(masks, scale_factor=1 / NOISE_SCALE, mode="bilinear", align_corners=False)
    back = F.interpolate(coarse, (size, size), mode="bilinear", align_corners=False)
    noise = torch.randn(masks.shape, generator=torch.Generator().manual_seed(seed))
    return (masks + noise * ((masks - back).abs() >= CHANGED) > 0.5).float()


def _question(mask: Pixels, rng: np.random.Generator) -> ReferencePrompt:
    found = objects(mask)
    kind = KINDS[int(rng.integers(len(KINDS)))] if found else None
    targets = torch.from_numpy(np.stack(found or [np.zeros_like(mask)])[:, None].astype(np.float32))
    place = a_point if kind == "point" else lambda defect, _: _inner_box(defect)
    places = [place(defect, rng) for defect in found] if kind in ("point", "box") else []
    return ReferencePrompt(kind, targets, torch.tensor(places, dtype=torch.float32), int(rng.integers(2**31)))


def _inner_box(defect: Pixels) -> tuple[float, float, float, float]:
    """First and last pixel index of each axis, without + 1 (D13)."""
    rows, columns = np.flatnonzero(defect.any(1)), np.flatnonzero(defect.any(0))
    return float(columns[0]), float(rows[0]), float(columns[-1]), float(rows[-1])

"""Prompts for the second pass of a step, so that the network can also be asked about one place (docs/network.md, D3).

A prompt may lie on a good surface, and then asks for an empty mask: that a prompt is there says nothing about a defect.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from models.decoders.prompts import POSITIVE, Prompts
from training.data.images import Pixels

PromptKind = Literal["box", "point", "mask"]
KINDS: tuple[PromptKind, ...] = ("box", "point", "mask")

BOX_JITTER = 0.1  # of the box's sides
LARGEST_LOGIT = 10.0  # of a mask prompt (docs/network.md, D18)
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class PromptBatch:
    """One prompt for each of B images, all of one kind, and the masks they ask for, `targets` (B, 1, S, S).

    `places` (B, 4) are boxes, (B, 2) points; a mask prompt is what the first pass answers and has none.
    """

    kind: PromptKind
    targets: Tensor
    places: Tensor | None

    def of(self, images: slice) -> PromptBatch:
        """Those of some of the images."""
        return PromptBatch(self.kind, self.targets[images], None if self.places is None else self.places[images])

    def prompts(self, own_logits: Tensor) -> Prompts:
        """For the network, where the first pass answered `own_logits` (B, 1, m, m)."""
        if self.places is None:
            return Prompts.from_masks(own_logits.detach().clamp(-LARGEST_LOGIT, LARGEST_LOGIT)[:, None])
        places = self.places.to(own_logits.device)[:, None]
        if self.kind == "box":
            return Prompts.from_boxes(places)
        return Prompts.from_points(places[:, None], places.new_full(places.shape[:2], POSITIVE).long()[:, None])


def draw_prompt_batch(masks: Tensor, rng: np.random.Generator) -> PromptBatch:
    """What to ask about images whose true unions are `masks` (B, 1, S, S; 0 or 1).

    A box or a point asks for one connected defect, a mask prompt for the union.
    """
    kind = KINDS[int(rng.integers(len(KINDS)))]
    if kind == "mask":
        return PromptBatch(kind, masks, None)
    defects = [one_defect(mask[0].numpy().astype(np.uint8), rng) for mask in masks]
    place = jittered_box if kind == "box" else a_point
    places = torch.tensor([place(defect, rng) for defect in defects], dtype=torch.float32)
    return PromptBatch(kind, torch.from_numpy(np.stack(defects)[:, None].astype(np.float32)), places)


def one_defect(mask: Pixels, rng: np.random.Generator) -> Pixels:
    """One of the 8-connected regions of a mask (S, S; 0 or 1), each as likely; a good image's stays empty."""
    regions, labels = cv2.connectedComponents(mask, connectivity=8)
    chosen = int(rng.integers(1, regions)) if regions > 1 else regions
    return np.asarray(labels == chosen, np.uint8)


def jittered_box(defect: Pixels, rng: np.random.Generator) -> Box:
    """x0, y0, x1, y1 around the defect, each side moved a little; a random box where there is none."""
    size = defect.shape[0]
    if not defect.any():
        x, y = rng.uniform(0, 0.8 * size, 2)
        width, height = rng.uniform(0.05 * size, 0.5 * size, 2)
        return x, y, min(x + width, size), min(y + height, size)
    rows, columns = np.flatnonzero(defect.any(1)), np.flatnonzero(defect.any(0))
    x0, y0, x1, y1 = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    dx, dy = BOX_JITTER * (x1 - x0), BOX_JITTER * (y1 - y0)
    moved = np.array([x0, y0, x1, y1]) + rng.uniform(-1, 1, 4) * [dx, dy, dx, dy]
    left, top, right, bottom = np.clip(moved, 0, size)
    return left, top, right, bottom


def a_point(defect: Pixels, rng: np.random.Generator) -> tuple[float, float]:
    """x, y of a random pixel of the defect, of the whole image where there is none."""
    choices = np.flatnonzero(defect) if defect.any() else np.arange(defect.size)
    y, x = divmod(int(rng.choice(choices)), defect.shape[1])
    return x, y

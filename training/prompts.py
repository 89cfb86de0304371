"""Prompts for the second pass of a step, so that the network can also be asked about one place (specification, D3).

A prompt may lie on a good surface, and then asks for an empty mask: that a prompt is there says nothing about a defect.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from models.prompts import POSITIVE, Prompts
from training.images import Pixels

PromptKind = Literal["box", "point", "mask"]
KINDS: tuple[PromptKind, ...] = ("box", "point", "mask")

BOX_JITTER = 0.1  # of the box's sides
LARGEST_LOGIT = 10.0  # of a mask prompt (specification, D18)
Box = tuple[float, float, float, float]


def draw_prompts(masks: Tensor, own_logits: Tensor, rng: np.random.Generator) -> tuple[Prompts, Tensor]:
    """One prompt for each image, all of one kind, and the masks it asks for.

    `masks` (B, 1, S, S; 0 or 1) are the true unions, `own_logits` (B, 1, m, m) what the first pass answered. A box or
    a point asks for one connected defect, a mask prompt for the union.
    """
    kind = KINDS[int(rng.integers(len(KINDS)))]
    if kind == "mask":
        return Prompts.from_masks(own_logits.detach().clamp(-LARGEST_LOGIT, LARGEST_LOGIT)[:, None]), masks
    defects = [one_defect(mask[0].numpy().astype(np.uint8), rng) for mask in masks]
    targets = torch.from_numpy(np.stack(defects)[:, None].astype(np.float32))
    if kind == "box":
        boxes = torch.tensor([jittered_box(defect, rng) for defect in defects], dtype=torch.float32)
        return Prompts.from_boxes(boxes[:, None]), targets
    points = torch.tensor([a_point(defect, rng) for defect in defects], dtype=torch.float32)
    labels = torch.full((len(defects), 1, 1), POSITIVE)
    return Prompts.from_points(points[:, None, None], labels), targets


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

"""Synthetic defects on good images, for data sets that hold few real ones: cut from other images, or drawn.

A real defect is cut out as a difference of light from its surroundings, and that difference is added to a good image of
the same data set; idea after CutPaste (Li et al., CVPR 2021) and DRAEM (Zavrtanik et al., ICCV 2021). The images are at
the network's size, S pixels a side.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.images import ImageSet, Pixels

DRAWN_SHARE = 0.3
"""Of the synthetic defects, those that are drawn; the others are cut from real ones, where there are any."""
LARGEST_CUT = 0.05
"""Share of the image above which a defect is no longer pasted: it would bring its whole surroundings along."""
MARGIN_PX = 4
VISIBLE = 0.8
"""Mean light of a pasted defect, at least, in standard deviations of what it lies on: there must be something."""
LIGHT = (8.0, 45.0)
"""Grey levels by which a drawn defect is darker or brighter than what it lies on."""

Signed = NDArray[np.float32]


class DefectDonors:
    """Which training images may give a defect to which good image: those of the same data set."""

    def __init__(self, images: ImageSet) -> None:
        self._images = images
        self._of_dataset: dict[str, list[int]] = {}
        for index, (record, mask) in enumerate(zip(images.records, images.masks, strict=True)):
            if record.label and mask.any():
                self._of_dataset.setdefault(record.dataset, []).append(index)

    def spoil(self, index: int, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
        """Good image `index` of the set with one synthetic defect: image (S, S, 1 or 3) and mask (S, S; 0 or 1)."""
        image, size = self._images.images[index], self._images.masks[index].shape[0]
        donors = self._of_dataset.get(self._images.records[index].dataset, [])
        patch = None
        if donors and rng.random() >= DRAWN_SHARE:
            donor = donors[int(rng.integers(len(donors)))]
            patch = cut_defect(self._images.images[donor], self._images.masks[donor], rng)
        light, mask = draw_defect(size, rng) if patch is None else _vary(*patch, rng)
        return paste(image, light, mask, rng, self._images.filled[index])


def cut_defect(image: Pixels, mask: Pixels, rng: np.random.Generator) -> tuple[Signed, Pixels] | None:
    """One connected defect as (light against its surroundings (h, w), mask (h, w)); None where all are too large."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    fitting = [n for n in range(1, count) if stats[n, cv2.CC_STAT_AREA] <= LARGEST_CUT * mask.size]
    if not fitting:
        return None
    number = fitting[int(rng.integers(len(fitting)))]
    x, y, width, height = (int(value) for value in stats[number, :4])
    window = (
        slice(max(0, y - MARGIN_PX), y + height + MARGIN_PX),
        slice(max(0, x - MARGIN_PX), x + width + MARGIN_PX),
    )
    grey = image.mean(axis=2)[window]
    own = labels[window] == number
    around = grey[labels[window] == 0]
    background = float(np.median(around)) if around.size else float(np.median(grey))
    return ((grey - background) * own).astype(np.float32), own.astype(np.uint8)


def draw_defect(size: int, rng: np.random.Generator) -> tuple[Signed, Pixels]:
    """A scratch, a spot or a stain as (light (h, w), mask (h, w)), at most a third of the image wide."""
    shape = (_scratch, _spot, _stain)[int(rng.integers(3))]
    mask = shape(int(rng.integers(max(8, size // 24), size // 3)), rng)
    strength = rng.uniform(*LIGHT) * rng.choice([-1, 1], p=[0.7, 0.3])
    grain = 1 + 0.3 * rng.standard_normal(mask.shape)
    return (mask * strength * grain).astype(np.float32), mask


def paste(
    image: Pixels, light: Signed, mask: Pixels, rng: np.random.Generator, filled: tuple[int, int] | None = None
) -> tuple[Pixels, Pixels]:
    """Add `light`, softened at its edges, to `image` at a random place; the mask of what was added.

    `filled` (rows, columns) is where the image lies in its square, None: everywhere.
    """
    size = image.shape[0]
    rows, columns = filled or (size, size)
    height, width = min(mask.shape[0], rows), min(mask.shape[1], columns)
    top = int(rng.integers(0, rows - height + 1))
    left = int(rng.integers(0, columns - width + 1))
    place = (slice(top, top + height), slice(left, left + width))
    added = np.zeros((size, size), np.float32)
    placed = np.zeros((size, size), np.uint8)
    light, mask = light[:height, :width], mask[:height, :width]
    least, mean = VISIBLE * float(image[place].std()), float(np.abs(light[mask > 0]).mean()) if mask.any() else 0.0
    added[place], placed[place] = light * max(1.0, least / max(mean, 1.0)), mask
    added = np.asarray(cv2.GaussianBlur(added, (0, 0), rng.uniform(0.4, 0.8)), np.float32)
    spoiled = np.clip(np.rint(image + added[:, :, None]), 0, 255).astype(np.uint8)
    return spoiled, placed


def _vary(light: Signed, mask: Pixels, rng: np.random.Generator) -> tuple[Signed, Pixels]:
    """Mirrored, turned by quarters, scaled, stronger or weaker, so that one real defect gives many."""
    for axis in (0, 1):
        if rng.random() < 0.5:
            light, mask = np.flip(light, axis), np.flip(mask, axis)
    quarters = int(rng.integers(4))
    light, mask = np.rot90(light, quarters), np.rot90(mask, quarters)
    scale = float(rng.uniform(0.7, 1.5))
    shape = tuple(max(3, round(side * scale)) for side in mask.shape[::-1])
    scaled = cv2.resize(np.ascontiguousarray(light), shape, interpolation=cv2.INTER_LINEAR)
    covered = cv2.resize(np.ascontiguousarray(mask) * 255, shape, interpolation=cv2.INTER_LINEAR)
    return (scaled * rng.uniform(0.7, 1.3)).astype(np.float32), (covered >= 100).astype(np.uint8)


def _scratch(extent: int, rng: np.random.Generator) -> Pixels:
    mask = np.zeros((extent, extent), np.uint8)
    steps = np.cumsum(rng.normal(0, 0.03 * extent, 6))
    along = np.linspace(1, extent - 2, 6)
    points = np.column_stack([along, np.clip(extent / 2 + steps + rng.uniform(-1, 1) * (along - extent / 2), 1, None)])
    thickness = 1 if rng.random() < 0.6 else 2
    cv2.polylines(mask, [np.clip(points, 0, extent - 1).astype(np.int32)], isClosed=False, color=1, thickness=thickness)
    return mask if rng.random() < 0.5 else np.ascontiguousarray(mask.T)


def _spot(extent: int, rng: np.random.Generator) -> Pixels:
    extent = max(6, extent // 3)
    mask = np.zeros((extent, extent), np.uint8)
    centre = (extent // 2, extent // 2)
    axes = (max(1, int(extent * rng.uniform(0.15, 0.45))), max(1, int(extent * rng.uniform(0.15, 0.45))))
    cv2.ellipse(mask, centre, axes, float(rng.uniform(0, 180)), 0, 360, color=1, thickness=-1)
    return mask


def _stain(extent: int, rng: np.random.Generator) -> Pixels:
    """Smooth noise inside a round window, cut at a level: a ragged patch."""
    noise = cv2.GaussianBlur(rng.standard_normal((extent, extent)), (0, 0), max(1.0, extent / 8))
    along = np.linspace(-1, 1, extent)
    window = np.exp(-2.5 * (along[:, None] ** 2 + along[None, :] ** 2))
    field = (noise / noise.std() + 1.5) * window
    return np.asarray(field > np.quantile(field, 0.8), np.uint8)

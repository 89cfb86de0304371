"""What the score sheet needs of each image, so that any subset or resampling of images is a weighted sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from f2pnet.inspection.regions import regions
from training.data.images import Pixels
from training.metrics.boundaries import boundary_overlap
from training.metrics.counts import count
from training.metrics.evaluate import Map, map_at
from training.metrics.objects import Objects, match_objects
from training.metrics.pixel_ap import Histograms, pixel_histograms
from training.metrics.thresholds import Choice, Validated

NEVER = -1.0
"""The decision score of an image that no threshold rejects."""
HALVINGS = 12


@dataclass(frozen=True)
class ImageStats:
    """One row for each of N images, all at source size and at the thresholds the model ships with.

    `pixels` (N, 4): TP, FP, FN, TN. `boundaries` (N, 2): pixels of both boundaries, of either. `histograms`
    (N, 2, BINS). `by_score` and `by_map` (N,): the image is rejected from this image score, from this probability.
    """

    labels: NDArray[np.bool_]
    pixels: NDArray[np.int64]
    boundaries: NDArray[np.int64]
    histograms: Histograms
    objects: list[Objects]
    score: NDArray[np.float32]
    rejected: NDArray[np.bool_]
    by_score: NDArray[np.float64]
    by_map: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class _Row:
    pixels: tuple[int, int, int, int]
    boundaries: tuple[int, int]
    histograms: Histograms
    objects: Objects
    has_region: bool
    level: float


def image_stats(answers: Validated, choice: Choice) -> ImageStats:
    """Measure every image once; a few milliseconds each."""
    limits, score = choice.thresholds, np.asarray(answers.predicted.score)
    passes_gate = score >= limits.score
    rows = [
        _measure(map_at(found, mask.shape), mask, choice, bool(gate))
        for found, mask, gate in zip(
            answers.predicted.map(choice.defect_output), answers.masks, passes_gate, strict=True
        )
    ]
    has_region = np.array([row.has_region for row in rows])
    return ImageStats(
        labels=np.asarray(answers.labels, bool),
        pixels=np.array([row.pixels for row in rows]),
        boundaries=np.array([row.boundaries for row in rows]),
        histograms=np.stack([row.histograms for row in rows]),
        objects=[row.objects for row in rows],
        score=score,
        rejected=passes_gate & has_region,
        by_score=np.where(has_region, score, NEVER).astype(float),
        by_map=np.where(passes_gate, [row.level for row in rows], NEVER),
    )


def _measure(probabilities: Map, mask: Pixels, choice: Choice, passes_gate: bool) -> _Row:
    limits = choice.thresholds
    binary = (probabilities >= limits.pixel).astype(np.uint8)
    pixels = count(binary, mask)
    found = regions(binary, max(limits.min_area_px, 1))
    return _Row(
        (pixels.tp, pixels.fp, pixels.fn, pixels.tn),
        boundary_overlap(binary, mask),
        pixel_histograms(probabilities, mask),
        match_objects(found if passes_gate else [], mask),
        bool(found),
        reject_level(probabilities, limits.min_area_px),
    )


def reject_level(probabilities: Map, min_area_px: float) -> float:
    """Highest pixel threshold, to 2^-12, at which a region of the smallest area remains; NEVER where none does.

    Regions only grow as the threshold falls, so halving finds it.
    """
    area_px = max(min_area_px, 1)
    highest = float(probabilities.max())
    if area_px <= 1:
        return highest
    if probabilities.size < area_px:
        return NEVER
    low, high = 0.0, highest
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if regions((probabilities >= middle).astype(np.uint8), area_px):
            low = middle
        else:
            high = middle
    return low


def select(stats: ImageStats, chosen: Sequence[int]) -> ImageStats:
    """The statistics of some of the images."""
    at = np.asarray(chosen, np.int64)
    return ImageStats(
        stats.labels[at],
        stats.pixels[at],
        stats.boundaries[at],
        stats.histograms[at],
        [stats.objects[index] for index in at],
        stats.score[at],
        stats.rejected[at],
        stats.by_score[at],
        stats.by_map[at],
    )

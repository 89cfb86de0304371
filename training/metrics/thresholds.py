"""The thresholds that an engine ships with, chosen on validation images of all data sets of the mix.

First the map and its pixel threshold, by the mean over the data sets of the foreground IoU; then the gate of the image
score and the smallest area: of those that reject at most `MOST_REJECTED` of the good frames of every set, the pair with
the highest mean recall. A tie goes to the lower value: an escape costs more than a false reject.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from f2pnet.engine.bundle import Thresholds
from f2pnet.inspection.regions import regions
from training.data.images import Pixels
from training.metrics.counts import Counts, count
from training.metrics.evaluate import Map, MapName, Predicted, map_at

PIXEL_GRID = tuple(round(0.05 * step, 2) for step in range(4, 17))  # 0.2 .. 0.8
SCORE_GRID = tuple(round(0.05 * step, 2) for step in range(20))  # 0 .. 0.95
MOST_REJECTED = 0.05
"""Share of good frames. With folds the answers are those of shorter runs; the one that ships rejects fewer."""
AREA_GRID_PX = (0, 8, 16, 24, 32, 48, 64, 96)


@dataclass(frozen=True)
class Validated:
    """Answers for the validation images of one data set: N predictions, true masks at source size, labels 0 or 1."""

    predicted: Predicted
    masks: Sequence[Pixels]
    labels: Sequence[int]


@dataclass(frozen=True)
class Choice:
    """The map that is cut into defects, and where."""

    defect_output: MapName
    thresholds: Thresholds


def choose_thresholds(validated: Mapping[str, Validated]) -> Choice:
    """Pick map, pixel threshold, score gate and smallest area (px of the source)."""
    of_map = {name: {key: _pixel_ious(sheet, name) for key, sheet in validated.items()} for name in get_args(MapName)}
    means = {name: np.mean(list(ious.values()), axis=0) for name, ious in of_map.items()}
    best: MapName = max(means, key=lambda name: float(means[name].max()))
    pixel = PIXEL_GRID[int(means[best].argmax())]
    score, min_area_px = _choose_gate(validated.values(), best, pixel)
    return Choice(best, Thresholds(pixel=pixel, score=score, min_area_px=min_area_px))


def _pixel_ious(validated: Validated, name: MapName) -> NDArray[np.float64]:
    """Pooled foreground IoU at each threshold of the grid."""
    pooled = [Counts()] * len(PIXEL_GRID)
    for probabilities, mask in zip(validated.predicted.map(name), validated.masks, strict=True):
        at_source = map_at(probabilities, mask.shape)
        pooled = [total + count(at_source >= limit, mask) for total, limit in zip(pooled, PIXEL_GRID, strict=True)]
    return np.array([total.iou for total in pooled])


def _choose_gate(validated: Iterable[Validated], name: MapName, pixel: float) -> tuple[float, int]:
    """(score gate, smallest area in px), on the data sets that hold both good and defective images."""
    usable = [sheet for sheet in validated if 0 < sum(sheet.labels) < len(sheet.labels)]
    if not usable:
        return 0.0, 0
    areas = [_largest_areas(sheet, name, pixel) for sheet in usable]

    def worth(score: float, area_px: int) -> tuple[float, float]:
        each = [
            count((sheet.predicted.score >= score) & (largest >= max(area_px, 1)), np.asarray(sheet.labels, bool))
            for sheet, largest in zip(usable, areas, strict=True)
        ]
        most_rejected = max(counts.false_reject_rate for counts in each)
        return -max(most_rejected, MOST_REJECTED), float(np.mean([counts.recall for counts in each]))

    grid = [(score, area_px) for score in SCORE_GRID for area_px in AREA_GRID_PX]
    return max(grid, key=lambda pair: worth(*pair))


def _largest_areas(validated: Validated, name: MapName, pixel: float) -> NDArray[np.int64]:
    """Area of the largest region of each image, px of the source; 0 where nothing reaches the threshold."""
    return np.array(
        [
            _largest_area(map_at(probabilities, mask.shape), pixel)
            for probabilities, mask in zip(validated.predicted.map(name), validated.masks, strict=True)
        ]
    )


def _largest_area(probabilities: Map, pixel: float) -> int:
    binary = (probabilities >= pixel).astype(np.uint8)
    return max((region.area_px for region in regions(binary, 1)), default=0)

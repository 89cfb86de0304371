"""Connected regions of a binary map, measured and outlined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

MAX_REGIONS = 1024
MAX_OUTLINE_POINTS = 64
FINEST_OUTLINE_PX = 1.0  # how far a simplified outline may lie from the true one, before it is coarsened


@dataclass(frozen=True)
class Region:
    """One 8-connected region. `pixels` is (height, width) bool, true where the region is, inside its bounding box."""

    x: int
    y: int
    area_px: int
    pixels: NDArray[np.bool_]

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns of the bounding box, to index a frame with."""
        height, width = self.pixels.shape
        return slice(self.y, self.y + height), slice(self.x, self.x + width)

    @property
    def bbox_px(self) -> tuple[int, int, int, int]:
        """(x, y, width, height)."""
        height, width = self.pixels.shape
        return self.x, self.y, width, height


def regions(binary: NDArray[np.uint8], min_area_px: float) -> list[Region]:
    """The 8-connected regions of at least `min_area_px` pixels that are not 0 in `binary` (H, W), largest first.

    There are at most MAX_REGIONS: noise all over a large frame makes tens of thousands, and would hold up the line.
    """
    left, top, width, height = cv2.boundingRect(binary)
    if width == 0:
        return []
    occupied = binary[top : top + height, left : left + width]
    # Labelling is the dearest step. Of OpenCV's algorithms BBDT is the fastest on one thread (a third of the default).
    _, labels, stats, _ = cv2.connectedComponentsWithStatsWithAlgorithm(occupied, 8, cv2.CV_32S, cv2.CCL_BBDT)
    found = []
    for label in _largest(stats[:, cv2.CC_STAT_AREA], min_area_px):
        x, y, w, h, area = (int(value) for value in stats[label])
        found.append(Region(left + x, top + y, area, labels[y : y + h, x : x + w] == label))
    return found


def _largest(areas: NDArray[Any], min_area_px: float) -> list[int]:
    """Labels of the largest areas; label 0 is the background."""
    labels = np.flatnonzero(areas >= min_area_px)
    labels = labels[labels > 0]
    return [int(label) for label in labels[np.argsort(-areas[labels], kind="stable")][:MAX_REGIONS]]


def outline(region: Region) -> list[tuple[int, int]]:
    """The region's outer border as (x, y) points in pixels of the frame, at most MAX_OUTLINE_POINTS of them."""
    contours, _ = cv2.findContours(
        region.pixels.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=(region.x, region.y)
    )
    tolerance_px = FINEST_OUTLINE_PX
    points = cv2.approxPolyDP(contours[0], tolerance_px, closed=True)
    while len(points) > MAX_OUTLINE_POINTS:
        tolerance_px *= 2
        points = cv2.approxPolyDP(contours[0], tolerance_px, closed=True)
    return [(int(x), int(y)) for x, y in points[:, 0]]

"""Objects: which true defects were found, and which reported regions are false alarms.

After the component-wise rule of R. Chan et al., "SegmentMeIfYouCan", NeurIPS 2021 (data sets and benchmarks): a true
defect is compared with all reported regions that touch it, so a scratch found in three pieces is found, and pixels of
those regions that lie on other true defects do not count against it. It is found from an IoU of 0.1, as in nnDetection
(Baumgartner et al., MICCAI 2021), since what matters to a line is that the place was found. A region is a false alarm
when less than 0.1 of its pixels lie on any true defect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from f2pnet.inspection.regions import Region

OVERLAP = 0.1


@dataclass(frozen=True)
class Objects:
    """The K true defects of one image, 8-connected: area and found pixels (px), hit or not; and the false alarms."""

    area_px: NDArray[np.int64]
    found_px: NDArray[np.int64]
    hit: NDArray[np.bool_]
    false_alarms: int


def match_objects(reported: Sequence[Region], truth: NDArray[np.uint8]) -> Objects:
    """Compare the reported regions of an image with its true mask (H, W; 0 or 1)."""
    count, labels = cv2.connectedComponents(truth, connectivity=8)
    numbered = np.zeros(truth.shape, np.int64)
    for number, region in enumerate(reported, 1):
        numbered[region.slices][region.pixels] = number
    columns = len(reported) + 1
    shared = np.bincount((labels.astype(np.int64) * columns + numbered).ravel(), minlength=count * columns)
    return _judge(shared.reshape(count, columns))


def _judge(shared: NDArray[np.int64]) -> Objects:
    """From the pixels that true defect k and region f share, (K + 1, F + 1); row and column 0 are background."""
    area_px, on_regions = shared[1:].sum(axis=1), shared[1:, 1:]
    found_px = on_regions.sum(axis=1)
    on_background = shared[0, 1:]
    either_px = area_px + (on_regions > 0) @ on_background
    hit = found_px >= OVERLAP * either_px
    on_truth, region_px = on_regions.sum(axis=0), shared[:, 1:].sum(axis=0)
    return Objects(area_px, found_px, hit, int(np.count_nonzero(on_truth < OVERLAP * region_px)))

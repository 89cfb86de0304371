"""Boundary IoU: the overlap of outlines, which large defects do not outvote.

B. Cheng, R. Girshick, P. Dollar, A. Berg, A. Kirillov, "Boundary IoU: Improving Object-Centric Image Segmentation
Evaluation", CVPR 2021. The boundary of a mask is what lies within 2 % of the image's diagonal of its edge, inside it;
the border of the image counts as an edge.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

SHARE_OF_DIAGONAL = 0.02


def boundary(mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The pixels of a mask (H, W; 0 or 1) near its edge."""
    depth_px = max(1, round(SHARE_OF_DIAGONAL * float(np.hypot(*mask.shape))))
    square = np.ones((2 * depth_px + 1, 2 * depth_px + 1), np.uint8)
    core = cv2.erode(mask, square, borderType=cv2.BORDER_CONSTANT, borderValue=(0.0,))
    return np.asarray((mask > 0) & (core == 0))


def boundary_overlap(found: NDArray[np.uint8], truth: NDArray[np.uint8]) -> tuple[int, int]:
    """(pixels of both boundaries, pixels of either): sums over images give the pooled boundary IoU."""
    if found.shape != truth.shape:
        raise ValueError(f"found has shape {found.shape}, truth {truth.shape}: wanted the same")
    ours, true = boundary(found), boundary(truth)
    return int(np.count_nonzero(ours & true)), int(np.count_nonzero(ours | true))

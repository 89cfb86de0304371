"""Oracle protocols: the network is asked about each true defect of the test image, as the published evaluation does.

They measure outlining when the place is known, which a line never knows; docs/network.md (D2, D11 to D13) says how far
they flatter. Boxes reach from the least to the largest pixel index + 1. A point lies deepest inside its defect.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from f2pnet.pictures.preprocess import Resize, covered
from models.decoders.prompts import POSITIVE, Prompts
from models.f2pnet import F2PNet
from training.data.images import Pixels
from training.data.records import Record
from training.metrics.evaluate import Map, Predicted, without_filling, without_ignored
from training.metrics.thresholds import Validated
from training.score.names import OraclePrompt
from training.score.sheet import read_fitted

SMALLEST_PX = 20
SMALLEST_SHARE = 0.001  # of the largest defect's area; smaller ones get no prompt in the published evaluation


def oracle_answers(
    network: F2PNet, records: Sequence[Record], kind: OraclePrompt, resize: Resize = "stretch"
) -> Validated:
    """Masks are the union over the prompts; pixel map, score and images without a prompt come from the plain pass."""
    size = network.config.image_size
    images, masks, ignored = read_fitted(records, size, resize)
    each = [_ask(network.eval(), image, mask, kind, resize) for image, mask in zip(images, masks, strict=True)]
    mask_maps, pixel_maps, scores = zip(*each, strict=True)
    predicted = Predicted(np.stack(mask_maps), np.stack(pixel_maps), np.array(scores, np.float32))
    if resize == "letterbox":
        predicted = without_filling(predicted, masks, size)
    return Validated(without_ignored(predicted, ignored), masks, [record.label for record in records])


def prompted_defects(mask: Pixels) -> list[Pixels]:
    """The 8-connected defects that get a prompt, each as a mask (H, W; 0 or 1)."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    limit = max(SMALLEST_PX, SMALLEST_SHARE * areas.max(initial=0))
    return [(labels == label).astype(np.uint8) for label in range(1, count) if areas[label - 1] > limit]


def box_of(defect: Pixels) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 in source pixels; x1 and y1 are the first ones outside."""
    x, y, width, height = cv2.boundingRect(defect)
    return x, y, x + width, y + height


def point_of(defect: Pixels) -> tuple[int, int]:
    """x, y of the pixel that is farthest from the defect's edge."""
    depth = cv2.distanceTransform(np.pad(defect, 1), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    y, x = divmod(int(depth.argmax()), defect.shape[1])
    return x, y


def prompts_for(defects: Sequence[Pixels], side: int, kind: OraclePrompt, resize: Resize = "stretch") -> Prompts:
    """N prompts for one image, in pixels of a network input of this side."""
    height, width = defects[0].shape
    rows, columns = covered((height, width), side, resize)
    scale = np.array([columns / width, rows / height])
    if kind == "oracle-box":
        boxes = np.array([box_of(defect) for defect in defects]) * np.tile(scale, 2)
        return Prompts.from_boxes(torch.from_numpy(boxes[None].astype(np.float32)))
    points = (np.array([point_of(defect) for defect in defects]) + 0.5) * scale - 0.5
    labels = torch.full((1, len(defects), 1), POSITIVE)
    return Prompts.from_points(torch.from_numpy(points[None, :, None].astype(np.float32)), labels)


@torch.inference_mode()
def _ask(network: F2PNet, image: Pixels, mask: Pixels, kind: OraclePrompt, resize: Resize) -> tuple[Map, Map, float]:
    """(mask, pixel map, score) of one image."""
    pixels = np.broadcast_to(image, (*image.shape[:2], 3)).transpose(2, 0, 1)[None]
    encoded = network.encode(torch.from_numpy(pixels.astype(np.float32)))
    plain = network.decode(encoded)
    defects = prompted_defects(mask)
    side = network.config.image_size
    answer = network.decode(encoded, prompts_for(defects, side, kind, resize)) if defects else plain
    union = answer.mask_logits[0].amax(dim=0)
    return _probability(union), _probability(plain.pixel_logits[0, 0]), float(plain.image_logits[0].sigmoid())


def _probability(logits: torch.Tensor) -> NDArray[np.float32]:
    return np.asarray(logits.sigmoid().numpy(), np.float32)

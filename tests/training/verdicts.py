"""Frame verdicts counted by a loop over the images: what thresholds and score sheets are compared with."""

from __future__ import annotations

import cv2
import numpy as np

from training.metrics.counts import Counts
from training.metrics.evaluate import map_at
from training.metrics.thresholds import Choice, Validated


def verdict_counts(validated: Validated, choice: Choice) -> Counts:
    """A frame is rejected where its score reaches the gate and its largest region is large enough."""
    limits, found = choice.thresholds, {(rejected, label): 0 for rejected in (True, False) for label in (True, False)}
    for number, label in enumerate(validated.labels):
        at_source = map_at(validated.predicted.map(choice.defect_output)[number], validated.masks[number].shape)
        *_, stats, _ = cv2.connectedComponentsWithStats((at_source >= limits.pixel).astype(np.uint8))
        largest = stats[1:, cv2.CC_STAT_AREA].max(initial=0)
        rejected = validated.predicted.score[number] >= limits.score and largest >= max(limits.min_area_px, 1)
        found[bool(rejected), bool(label)] += 1
    return Counts(tp=found[True, True], fp=found[True, False], fn=found[False, True], tn=found[False, False])

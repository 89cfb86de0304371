"""From a frame's map to defects and a verdict, by the recipe and the engine's own thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from f2pnet.engine.bundle import Manifest
from f2pnet.inspection.recipe import Recipe, Roi, severity_rank
from f2pnet.inspection.regions import MAX_REGIONS, Region, outline, regions
from f2pnet.inspection.result import Defect, Verdict
from f2pnet.inspection.tiles import FrameMap, View

MAX_DEFECTS = 128
"""Defects reported for one frame, worst first; all regions count for the verdict."""


@dataclass(frozen=True)
class Graded:
    """A region with what the recipe says of it."""

    region: Region
    class_name: str
    score: float
    severity: str
    area_mm2: float | None


class Grader:
    """One recipe, applied to the maps of one engine. Raises ConfigError where they do not fit each other."""

    def __init__(self, recipe: Recipe, manifest: Manifest) -> None:
        recipe.check_classes(manifest.classes)
        self._recipe = recipe
        self._classes = manifest.classes
        self._limits = np.array(recipe.pixel_limits(manifest.thresholds, manifest.classes), np.float32)
        self.lowest_limit = float(self._limits.min())
        """Where the map stays below it, there is no defect."""
        self._gate = recipe.gate(manifest.thresholds)
        self._min_area_px = recipe.min_area_px(manifest.thresholds)

    def may_hold_defect(self, view: View) -> bool:
        """False where neither bringing the map to source pixels nor anything after could find a defect."""
        return view.score >= self._gate and float(view.probability.max()) >= self.lowest_limit

    def grade(self, frame_map: FrameMap, roi_mask: NDArray[np.uint8] | None) -> list[Graded]:
        """All defects in a part of a frame, worst first.

        `roi_mask` is of the frame, (H, W), 255 where to look; None: everywhere.
        """
        window, binary = frame_map.window, self._above_limit(frame_map)
        if roi_mask is not None:
            binary = np.asarray(cv2.bitwise_and(binary, roi_mask[window.slices]), np.uint8)
        found = [
            self._grade_region(region, frame_map, replace(region, x=window.x + region.x, y=window.y + region.y))
            for region in regions(binary, self._min_area_px)
        ]
        return sorted(found, key=lambda graded: (-severity_rank(graded.severity), -graded.region.area_px))

    def verdict(self, found: Sequence[Graded]) -> Verdict:
        """NG when the recipe rejects any of the defects, or when there are too many to look at each."""
        rejects = any(self._recipe.severity.rejects(graded.severity) for graded in found)
        return Verdict.NG if rejects or len(found) >= MAX_REGIONS else Verdict.OK

    def _above_limit(self, frame_map: FrameMap) -> NDArray[np.uint8]:
        """(H, W), 1 where the probability reaches the limit of the pixel's class, else 0."""
        one_limit = frame_map.classes is None or (self._limits == self._limits[0]).all()
        limits = self._limits[0] if one_limit else self._limits[frame_map.classes]
        above: NDArray[np.bool_] = frame_map.probability >= limits
        return above.view(np.uint8)

    def _grade_region(self, region: Region, frame_map: FrameMap, in_frame: Region) -> Graded:
        probability = frame_map.probability[region.slices][region.pixels]
        index = 0
        if frame_map.classes is not None:  # every pixel votes, with its probability
            index = int(np.bincount(frame_map.classes[region.slices][region.pixels], weights=probability).argmax())
        class_name, score = self._classes[index], min(float(probability.max()), 1.0)
        area_mm2 = self._recipe.area_mm2(region.area_px)
        severity = self._recipe.severity.of(class_name, score, region.area_px, area_mm2)
        return Graded(in_frame, class_name, score, severity, area_mm2)


def as_defects(found: Sequence[Graded]) -> list[Defect]:
    """The worst MAX_DEFECTS as fields of a result."""
    return [
        Defect(
            class_name=graded.class_name,
            score=round(graded.score, 4),
            severity=graded.severity,
            bbox_px=graded.region.bbox_px,
            area_px=graded.region.area_px,
            area_mm2=None if graded.area_mm2 is None else round(graded.area_mm2, 4),
            polygon_px=outline(graded.region),
        )
        for graded in found[:MAX_DEFECTS]
    ]


def as_mask(found: Sequence[Graded], width: int, height: int) -> NDArray[np.uint8]:
    """(H, W), 255 where a defect is."""
    mask = np.zeros((height, width), np.uint8)
    for graded in found:
        mask[graded.region.slices][graded.region.pixels] = 255
    return mask


def draw_roi(roi: Roi, width: int, height: int) -> NDArray[np.uint8] | None:
    """(H, W), 255 where the recipe wants the frame looked at; None: everywhere."""
    if not roi.include and not roi.exclude:
        return None
    mask = np.full((height, width), 0 if roi.include else 255, np.uint8)
    for polygons, value in ((roi.include, 255), (roi.exclude, 0)):
        for polygon in polygons:
            cv2.fillPoly(mask, [np.rint(np.array(polygon)).astype(np.int32)], value)
    return mask

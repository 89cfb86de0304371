"""The steps around an engine's run, by one recipe: which windows of a frame it sees, and what its answers mean."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from f2pnet.backends import BackendFacts
from f2pnet.backends.base import Outputs
from f2pnet.engine.bundle import Bundle
from f2pnet.inspection.grading import Graded, Grader, as_defects, draw_roi
from f2pnet.inspection.recipe import Recipe
from f2pnet.inspection.result import InspectionResult, Timings, Verdict
from f2pnet.inspection.tiles import View, Window, merge, window_above, windows
from f2pnet.pictures.preprocess import Image, fit, uncovered

PLANS_KEPT = 8  # frame sizes whose windows and ROI are remembered; a line has one for each camera
ROI_OUTSIDE_FRAME = "roi_outside_frame"


@dataclass(frozen=True)
class FramePlan:
    """How frames of one size are looked at: the windows that touch the ROI, and the ROI (None: everywhere)."""

    width: int
    height: int
    windows: list[Window]
    roi_mask: NDArray[np.uint8] | None


class Judge:
    """One recipe on one engine. It changes nothing, so any number of threads may use it at once."""

    def __init__(self, bundle: Bundle, facts: BackendFacts, recipe: Recipe) -> None:
        """Raises ConfigError where the recipe does not fit the engine."""
        self.recipe = recipe
        self._bundle = bundle
        self._facts = facts
        self._grader = Grader(recipe, bundle.manifest)
        self._resize = bundle.manifest.input.resize
        self.plan = lru_cache(PLANS_KEPT)(self._make_plan)
        """The FramePlan of frames of (width, height), px."""

    def feed(self, frame: Image, window: Window, slot: Image) -> None:
        """Resize what a window shows of a frame into `slot`, (S, S, 3) uint8 RGB."""
        if self._facts.reads_pixels:
            fit(frame[window.slices], self._facts.image_size, slot, self._resize)

    def views(self, outputs: Outputs, pieces: Sequence[Window]) -> list[View]:
        """What the engine's outputs for a batch say of each window in it."""
        maps, classes = outputs[self._bundle.manifest.defect_output], outputs.get("class_map")
        return [
            View(
                window,
                float(outputs["score"][at]),
                self._of_window(maps[at], window),
                None if classes is None else self._of_window(classes[at], window),
            )
            for at, window in enumerate(pieces)
        ]

    def find(self, views: Sequence[View], plan: FramePlan) -> list[Graded]:
        """The defects of a frame, worst first."""
        suspicious = [view for view in views if self._grader.may_hold_defect(view)]
        part = window_above(suspicious, self._grader.lowest_limit)
        return [] if part is None else self._grader.grade(merge(suspicious, part), plan.roi_mask)

    def result(
        self, views: Sequence[View], found: Sequence[Graded], engine_ms: float, started: float
    ) -> InspectionResult:
        """The verdict on a frame. `engine_ms`: of its run; `started`: when `find` began, s of `time.perf_counter`."""
        defects = as_defects(found)
        postprocess_ms = (time.perf_counter() - started) * 1e3
        return InspectionResult(
            verdict=self._grader.verdict(found) if views else Verdict.NOT_INSPECTED,
            reason=None if views else ROI_OUTSIDE_FRAME,
            score=round(min(max(view.score for view in views), 1.0), 4) if views else None,
            defects=defects,
            engine=self._bundle.engine_id,
            recipe=self.recipe.recipe_id,
            device=self._facts.device,
            timings_ms=Timings(engine=round(engine_ms, 3), postprocess=round(postprocess_ms, 3)),
        )

    def _make_plan(self, width: int, height: int) -> FramePlan:
        roi_mask = draw_roi(self.recipe.roi, width, height)
        pieces = windows(width, height, self.recipe.tiles)
        if roi_mask is not None:
            pieces = [piece for piece in pieces if roi_mask[piece.slices].any()]
        return FramePlan(width, height, pieces, roi_mask)

    def _of_window(self, values: NDArray[np.float32], window: Window) -> NDArray[np.float32]:
        """The part of a map that belongs to the window, without a letterbox's filling."""
        return uncovered(values, (window.height, window.width), self._facts.image_size, self._resize)

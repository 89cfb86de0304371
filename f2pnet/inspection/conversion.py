"""Results in the form that other libraries take; none of them is needed to import this."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from f2pnet.errors import ConfigError, MissingResource
from f2pnet.inspection.overlay import mask_of
from f2pnet.inspection.recipe import severity_rank
from f2pnet.inspection.result import InspectionResult

if TYPE_CHECKING:
    from supervision import Detections


def as_row(result: InspectionResult) -> dict[str, Any]:
    """One flat row of plain values."""
    areas_mm2 = [defect.area_mm2 for defect in result.defects if defect.area_mm2 is not None]
    content = result.to_dict()
    timings, source = content.pop("timings_ms"), content.pop("source_ref") or {}
    defects = {
        "defects": len(result.defects),
        "classes": ", ".join(sorted({defect.class_name for defect in result.defects})),
        "worst_severity": max((defect.severity for defect in result.defects), key=severity_rank, default=None),
        "defect_area_px": sum(defect.area_px for defect in result.defects),
        "defect_area_mm2": sum(areas_mm2) if areas_mm2 else None,
    }
    origin = {"source_file": source.get("file"), "source_frame": source.get("frame")}
    return content | origin | defects | {f"{stage}_ms": duration for stage, duration in timings.items()}


def as_supervision(
    result: InspectionResult, classes: Sequence[str] | None, image_shape: tuple[int, ...] | None
) -> Detections:
    """The defects as `supervision.Detections`. Raises MissingResource or ConfigError (a class is not in `classes`)."""
    try:
        supervision = importlib.import_module("supervision")
    except ModuleNotFoundError as error:
        raise MissingResource(f"to_supervision needs {error.name}: pip install supervision") from error
    names = [defect.class_name for defect in result.defects]
    known = list(classes) if classes is not None else sorted(set(names))
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ConfigError(f"classes are {', '.join(known)}: wanted the engine's, which found {', '.join(unknown)}")
    boxes = np.array([defect.bbox_px for defect in result.defects], np.float32).reshape(-1, 4)
    masks = None
    if image_shape is not None:
        height, width = image_shape[:2]
        drawn = [mask_of([defect], width, height) > 0 for defect in result.defects]
        masks = np.array(drawn, bool).reshape(-1, height, width)
    detections: Detections = supervision.Detections(
        xyxy=np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]]),
        mask=masks,
        confidence=np.array([defect.score for defect in result.defects], np.float32),
        class_id=np.array([known.index(name) for name in names], int),
        data={"class_name": np.array(names, str)},
    )
    return detections

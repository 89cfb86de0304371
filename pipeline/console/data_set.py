"""Reviewed frames as a data set: our layout (docs/data.md) and COCO JSON beside it, for training on what went wrong.

    out/images/<name>.jpg   out/masks/<name>.png   out/train.json   out/coco.json   out/to-label.json

A confirmed reject brings its picture and the outlines that the line found; a false reject brings a good picture. A
missed defect has no outline yet: its picture is put aside in `to-label.json`, since a wrong mask is worse than none.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from f2pnet.inspection.result import Defect, InspectionResult
from f2pnet.pictures.decode import decode_picture
from f2pnet.pictures.header import UnreadablePicture
from f2pnet.pictures.writing import write_picture
from pipeline.console.reviews import Review

Found = tuple[InspectionResult, Path]
"""The result of a frame and the picture that was kept of it."""


@dataclass
class Written:
    """What came of the reviews. `without_picture`: their frames were not kept, or deleted to make room."""

    counts: Counter[str] = field(default_factory=Counter)
    without_picture: list[str] = field(default_factory=list)


def write_data_set(reviews: Sequence[Review], find: Callable[[str], Found | None], out: Path) -> Written:
    """Write all reviews whose pictures `find` knows, by frame id. Files that are there already are replaced."""
    written = Written()
    records: list[dict[str, Any]] = []
    to_label: list[dict[str, Any]] = []
    coco = _Coco()
    for folder in ("images", "masks"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for review in reviews:
        found = find(review.frame_id)
        if found is None:
            written.without_picture.append(review.frame_id)
            continue
        result, picture = found
        name = review.frame_id.replace("/", "_")
        image = out / "images" / f"{name}{picture.suffix}"
        try:
            height, width = decode_picture(picture.read_bytes()).shape[:2]
        except (UnreadablePicture, OSError):
            written.without_picture.append(review.frame_id)
            continue
        shutil.copyfile(picture, image)
        said = {"id": name, "image": f"images/{image.name}", "part_id": result.part_id or name, "note": review.note}
        if review.word == "missed":
            to_label.append(said)
            coco.add(said["image"], width, height, [])
        else:
            defects = result.defects if review.word == "confirmed" else []
            records.append(said | _labelled(out, name, width, height, defects))
            coco.add(said["image"], width, height, defects)
        written.counts[review.word] += 1
    for file, content in (("train.json", records), ("to-label.json", to_label), ("coco.json", coco.content())):
        (out / file).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return written


def _labelled(out: Path, name: str, width: int, height: int, defects: Sequence[Defect]) -> dict[str, Any]:
    mask = np.zeros((height, width), np.uint8)
    for defect in defects:
        cv2.fillPoly(mask, [np.array(_outline(defect, width, height), np.int32).reshape(-1, 2)], 255)
    write_picture(out / "masks" / f"{name}.png", mask)
    names = "+".join(sorted({defect.class_name for defect in defects})) or "good"
    return {"mask": f"masks/{name}.png", "label": int(bool(defects)), "class_name": names}


def _outline(defect: Defect, width: int, height: int) -> list[tuple[int, int]]:
    """The polygon within the picture: results come from a store that others may write to."""
    return [(min(max(x, 0), width), min(max(y, 0), height)) for x, y in defect.polygon_px]


class _Coco:
    """COCO JSON, object detection format (cocodataset.org, "Data format")."""

    def __init__(self) -> None:
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._categories: dict[str, int] = {}

    def add(self, file_name: str, width: int, height: int, defects: Sequence[Defect]) -> None:
        image_id = len(self._images) + 1
        self._images.append({"id": image_id, "file_name": file_name, "width": width, "height": height})
        for defect in defects:
            self._annotations.append(
                {
                    "id": len(self._annotations) + 1,
                    "image_id": image_id,
                    "category_id": self._categories.setdefault(defect.class_name, len(self._categories) + 1),
                    "segmentation": [[float(value) for point in _outline(defect, width, height) for value in point]],
                    "area": defect.area_px,
                    "bbox": list(defect.bbox_px),
                    "iscrowd": 0,
                }
            )

    def content(self) -> dict[str, Any]:
        categories = [{"id": number, "name": name} for name, number in self._categories.items()]
        return {"images": self._images, "annotations": self._annotations, "categories": categories}

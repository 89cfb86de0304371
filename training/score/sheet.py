"""The score sheet: every figure of one model on one list of images, with the protocol that made it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from f2pnet.pictures.preprocess import Resize
from training.data.examples import MaskForms, read_example
from training.data.images import Pixels, fit_image
from training.data.records import Record
from training.metrics.counts import tradeoff
from training.metrics.evaluate import predict, without_filling, without_ignored
from training.metrics.thresholds import Choice, Validated
from training.score.bootstrap import intervals
from training.score.image_stats import ImageStats, image_stats, select
from training.score.model import Model
from training.score.sheet_figures import plain_figures

PROTOCOL = "auto"
SIZE_EDGES_PX = (0, 100, 400, 1600, 6400)
"""Area of a defect from which the next class of size begins: squares of 10, 20, 40 and 80 pixels."""
CLASS_FIGURES = (
    "iou", "iou_per_image", "boundary_iou", "precision", "recall", "pixel_ap",
    "object_recall", "false_alarms_per_image", "frame_recall", "false_reject_rate",
)  # fmt: skip
DECIMALS = 4


def answers_for(model: Model, records: Sequence[Record]) -> Validated:
    """Run every image through the model; keeps the true masks at the size of their pictures."""
    images, masks, ignored = read_fitted(records, model.image_size, model.resize)
    predicted = predict(model.predictor, images, model.max_batch)
    if model.resize == "letterbox":
        predicted = without_filling(predicted, masks, model.image_size)
    return Validated(without_ignored(predicted, ignored), masks, [record.label for record in records])


def read_fitted(
    records: Sequence[Record], size: int, resize: Resize
) -> tuple[list[Pixels], list[Pixels], list[Pixels | None]]:
    """Images at the network's size; masks, and what is ignored of them, at the size of their pictures."""
    images, masks, ignored = [], [], []
    forms = MaskForms()
    for record in records:
        example = read_example(record)
        forms.add(record, example)
        images.append(fit_image(example.image, size, resize))
        masks.append(example.mask)
        ignored.append(example.ignored)
    forms.check()
    return images, masks, ignored


def score_sheet(answers: Validated, choice: Choice) -> dict[str, float]:
    """Pixel figures at source size, object figures and frame figures, at the thresholds the model ships with.

    Figures of frames that need good images, or defective ones, are left out where there are none.
    """
    return _rounded(plain_figures(image_stats(answers, choice)))


def full_sheet(stats: ImageStats, records: Sequence[Record], *, frames: bool = True) -> dict[str, Any]:
    """`values`, their 95 % `intervals`, figures `by_class` and `by_size`, the `curves`, a `note` on what is missing.

    `stats` belongs to `records`, row by row. The keys are stable; see docs/evaluation.md.
    """
    sheet: dict[str, Any] = {
        "values": _rounded(plain_figures(stats, frames=frames)),
        "intervals": {
            name: [round(edge, DECIMALS) for edge in edges]
            for name, edges in intervals(stats, [record.part_id for record in records], frames=frames).items()
        },
        "parts": len({record.part_id for record in records}),
        "by_class": by_class(stats, [record.class_name for record in records], frames=frames),
        "by_size": by_size(stats, frames=frames),
        "curves": curves(stats) if frames else {},
    }
    if note := _note(stats, frames):
        sheet["note"] = note
    return sheet


def by_class(stats: ImageStats, class_names: Sequence[str], *, frames: bool = True) -> dict[str, dict[str, float]]:
    """Figures of the images of each class, `good` among them."""

    def of(name: str) -> dict[str, float]:
        chosen = [index for index, other in enumerate(class_names) if other == name]
        part = select(stats, chosen)
        values = plain_figures(part, frames=frames)
        wanted = CLASS_FIGURES if part.labels.any() else ("false_alarms_per_image", "false_reject_rate")
        return {"images": len(chosen)} | _rounded({key: values[key] for key in wanted if key in values})

    return {name: of(name) for name in sorted(set(class_names))}


def by_size(stats: ImageStats, *, frames: bool = True) -> list[dict[str, Any]]:
    """For each class of size: its defects (8-connected), and the images whose defects together have that area."""
    areas = np.concatenate([image.area_px for image in stats.objects])
    found = np.concatenate([image.found_px for image in stats.objects])
    hit = np.concatenate([image.hit for image in stats.objects])
    whole = np.array([image.area_px.sum() for image in stats.objects])
    rows = []
    for low, high in zip(SIZE_EDGES_PX, (*SIZE_EDGES_PX[1:], np.inf), strict=True):
        of_size = (areas >= low) & (areas < high)
        images = stats.labels & (whole >= low) & (whole < high)
        row: dict[str, Any] = {
            "from_px": low,
            "below_px": None if np.isinf(high) else high,
            "objects": int(of_size.sum()),
            "images": int(images.sum()),
        }
        if of_size.any():
            row["object_recall"] = round(float(hit[of_size].mean()), DECIMALS)
            row["recall"] = round(float(found[of_size].sum() / areas[of_size].sum()), DECIMALS)
        if images.any() and frames:
            row["frame_recall"] = round(float(stats.rejected[images].mean()), DECIMALS)
        rows.append(row)
    return rows


def curves(stats: ImageStats) -> dict[str, list[list[float | None]]]:
    """Rows of [threshold, false-reject rate, escape rate], threshold falling; the first (null) rejects nothing.

    `by_score` moves the gate of the image score, `by_map` the pixel threshold; the other thresholds stay as shipped.
    """
    if stats.labels.all() or not stats.labels.any():
        return {}
    return {name: _curve(values, stats) for name, values in (("by_score", stats.by_score), ("by_map", stats.by_map))}


def _curve(decision: Any, stats: ImageStats) -> list[list[float | None]]:
    curve = tradeoff(decision, stats.labels, np.ones((1, len(stats))))
    return [
        [None if np.isinf(at) else round(float(at), 6), round(float(false), DECIMALS), round(float(escape), DECIMALS)]
        for at, false, escape in zip(curve.thresholds, curve.false_reject_rate[0], curve.escape_rate[0], strict=True)
    ]


def _note(stats: ImageStats, frames: bool) -> str | None:
    if not frames:
        return "no figures of verdicts: prompts from the truth give away which images are defective"
    if stats.labels.all():
        return "no good images in this list: false rejects, image AUROC and the curve can't be measured"
    if not stats.labels.any():
        return "no defective images in this list: only false alarms and false rejects can be measured"
    return None


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, DECIMALS) for name, value in values.items()}

"""One HTML page of score sheets that loads nothing else: curves, tables, best and worst images."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from f2pnet.engine.blind import blind_on
from f2pnet.pictures.writing import encode_picture
from training.data.images import Pixels, read_pair
from training.data.records import Record
from training.metrics.evaluate import map_at
from training.metrics.thresholds import Choice, Validated
from training.report.page_charts import chart
from training.report.sheet_tables import figure_text, size_name
from training.score.image_stats import ImageStats

SHOWN = 8
TILE_PX = 240
TRUTH, FOUND = (90, 200, 60), (60, 60, 235)  # BGR
PICTURE_TYPES = {".jpg": "jpeg", ".png": "png"}


@dataclass(frozen=True)
class Scored:
    """A score sheet and what it was made from."""

    sheet: dict[str, Any]
    records: Sequence[Record]
    answers: Validated
    stats: ImageStats
    choice: Choice


def write_page(path: Path, scored: Sequence[Scored]) -> None:
    """All sheets on one page."""
    pages = Environment(
        loader=PackageLoader("training.report"), autoescape=True, trim_blocks=True, undefined=StrictUndefined
    )
    pages.filters["breakable"] = breakable
    text = pages.get_template("score_sheets.html").render(
        blind=[str(each) for each in blind_on([each.sheet for each in scored])],
        overview=_overview(scored),
        sections=[_section(each) for each in scored],
        tile_px=TILE_PX,
    )
    path.write_text(text + "\n", encoding="utf-8")


def breakable(text: str) -> Markup:
    """Text that may break after an underscore."""
    return Markup("_<wbr>").join(escape(part) for part in str(text).split("_"))


def _overview(scored: Sequence[Scored]) -> dict[str, Any]:
    sheets = [each.sheet for each in scored]
    names = dict.fromkeys(name for sheet in sheets for name in sheet["values"])
    rows = [[key, *(str(sheet[key]) for sheet in sheets)] for key in ("model", "split", "protocol", "images", "parts")]
    rows += [[name, *(figure_text(sheet, name) for sheet in sheets)] for name in names]
    return {"head": ["", *(sheet["dataset"] for sheet in sheets)], "rows": rows}


def _section(scored: Scored) -> dict[str, Any]:
    sheet, limits = scored.sheet, scored.choice.thresholds
    return {
        "title": f"{sheet['dataset']}, protocol {sheet['protocol']}",
        "subtitle": f"{sheet['model']}, {sheet['split']}; defects are cut from the output "
        f"{scored.choice.defect_output} at {limits.pixel:g}, score gate {limits.score:g}, smallest area "
        f"{limits.min_area_px:g} px.",
        "note": sheet["note"][:1].upper() + sheet["note"][1:] if "note" in sheet else "",
        "charts": list(_charts(scored)),
        "by_class": _rows_table("class", list(sheet["by_class"].items())),
        "by_size": _rows_table("area, px", [(size_name(row), row) for row in sheet["by_size"]]),
        "groups": list(_groups(scored)),
    }


def _charts(scored: Scored) -> Iterator[Markup]:
    recall, precision = _precision_recall(scored.stats)
    if len(recall):
        yield chart("Pixels: precision by recall", "recall", "precision", {"pixels": (recall, precision)})
    curves = scored.sheet["curves"]
    if curves:
        lines = {
            title: (np.array([row[1] for row in curves[name]]), np.array([row[2] for row in curves[name]]))
            for title, name in (("moving the score gate", "by_score"), ("moving the pixel threshold", "by_map"))
        }
        values = scored.sheet["values"]
        dot = (values["false_reject_rate"], values["escape_rate"])
        yield chart("Frames: escapes by false rejects", "false-reject rate", "escape rate", lines, dot=dot)


def _precision_recall(stats: ImageStats) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Of the pooled pixels as the threshold falls, about 200 points."""
    background, defect = stats.histograms.sum(axis=0, dtype=np.int64)[:, ::-1].cumsum(axis=1)
    if not defect[-1]:
        return np.empty(0), np.empty(0)
    found = defect > 0
    recall, precision = defect[found] / defect[-1], defect[found] / (defect + background)[found]
    keep = np.unique(np.searchsorted(recall, np.linspace(0, 1, 200)).clip(max=len(recall) - 1))
    return recall[keep], precision[keep]


def _groups(scored: Scored) -> Iterator[dict[str, Any]]:
    """The defective images with the lowest and the highest IoU, and the good ones with most false pixels."""
    tp, fp, fn, _ = scored.stats.pixels.T
    iou = tp / np.maximum(tp + fp + fn, 1)
    defective = np.flatnonzero(scored.stats.labels)
    order = defective[np.argsort(iou[defective], kind="stable")]
    good = np.flatnonzero(~scored.stats.labels & (fp > 0))
    worst_good = good[np.argsort(-fp[good], kind="stable")]
    groups = {
        "Worst defective images": [(int(i), f"IoU {iou[i]:.2f}") for i in order[:SHOWN]],
        "Best defective images": [(int(i), f"IoU {iou[i]:.2f}") for i in order[::-1][:SHOWN]],
        "Good images with most false pixels": [(int(i), f"{fp[i]} px") for i in worst_good[:SHOWN]],
    }
    for title, chosen in groups.items():
        if chosen:
            yield {"title": title, "tiles": [_tile(scored, index, text) for index, text in chosen]}


def _tile(scored: Scored, index: int, text: str) -> dict[str, str]:
    record = scored.records[index]
    picture, suffix = encode_picture(overlay(scored, index), ".jpg", 85)
    return {
        "words": f"{text}, score {scored.stats.score[index]:.2f}, {record.class_name}, {record.id}",
        "kind": PICTURE_TYPES[suffix],
        "data": base64.b64encode(picture).decode(),
    }


def overlay(scored: Scored, index: int) -> Pixels:
    """An image with both outlines, TILE_PX wide, in its own proportions."""
    image, truth = read_pair(scored.records[index])
    found = map_at(scored.answers.predicted.map(scored.choice.defect_output)[index], truth.shape)
    size = (TILE_PX, max(1, round(TILE_PX * image.shape[0] / image.shape[1])))
    colour = image if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    tile = np.ascontiguousarray(cv2.resize(colour, size, interpolation=cv2.INTER_AREA))
    binary = (found >= scored.choice.thresholds.pixel).astype(np.uint8)
    for mask, ink in ((truth, TRUTH), (binary, FOUND)):
        small = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)
        outlines, _ = cv2.findContours(small, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(tile, outlines, -1, ink, 1)
    return np.asarray(tile, np.uint8)


def _rows_table(key: str, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    names = [name for name in dict.fromkeys(name for _, row in rows for name in row) if not name.endswith("_px")]
    return {"head": [key, *names], "rows": [[label, *(_cell(row.get(name)) for name in names)] for label, row in rows]}


def _cell(value: float | None) -> str:
    return "" if value is None else str(value) if isinstance(value, int) else f"{value:.3f}"

"""One HTML page of score sheets that loads nothing else: curves, tables, best and worst images."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from f2pnet.picture_writing import encode_picture
from training.evaluate import map_at
from training.image_stats import ImageStats
from training.images import Pixels, read_pair
from training.page_charts import chart
from training.records import Record
from training.sheet_tables import figure_text, size_name
from training.thresholds import Choice, Validated

SHOWN = 8
TILE_PX = 240
TRUTH, FOUND = (90, 200, 60), (60, 60, 235)  # BGR
STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --line: #d0d7de; --soft: #57606a; --a: #0969da;
        --b: #bc4c00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --paper: #0d1117; --line: #3d444d; --soft: #9198a1;
        --a: #58a6ff; --b: #f0883e; } }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 72rem;
       margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: .2rem .7rem; text-align: right; }
th:first-child, td:first-child { text-align: left; }
.wide { overflow-x: auto; } .soft { color: var(--soft); }
.row { display: flex; flex-wrap: wrap; gap: 1.5rem; }
figure { margin: 0; } figcaption { font-size: 13px; color: var(--soft); max-width: 240px; overflow-wrap: anywhere; }
svg text { fill: var(--soft); font-size: 12px; } svg .frame { stroke: var(--line); fill: none; }
svg .a { stroke: var(--a); fill: none; } svg .b { stroke: var(--b); fill: none; } svg .grid { stroke: var(--line); }
svg .dot { fill: var(--ink); } .key-a { color: var(--a); } .key-b { color: var(--b); }
"""

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
    sections = "".join(_section(each) for each in scored)
    path.write_text(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Score sheets</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>'
        f"<body><h1>Score sheets</h1>{_overview(scored)}{sections}</body></html>\n",
        encoding="utf-8",
    )


def _overview(scored: Sequence[Scored]) -> str:
    sheets = [each.sheet for each in scored]
    names = dict.fromkeys(name for sheet in sheets for name in sheet["values"])
    head = ["", *(sheet["dataset"] for sheet in sheets)]
    rows = [[key, *(str(sheet[key]) for sheet in sheets)] for key in ("model", "split", "protocol", "images", "parts")]
    rows += [[name, *(figure_text(sheet, name) for sheet in sheets)] for name in names]
    return (
        '<p class="soft">In brackets: 95 % intervals from drawing the parts again. Pixel figures are at the size of '
        "the source images.</p>" + _table(head, rows)
    )


def _section(scored: Scored) -> str:
    sheet, limits = scored.sheet, scored.choice.thresholds
    note = f"<p>{escape(sheet['note'][:1].upper() + sheet['note'][1:])}.</p>" if "note" in sheet else ""
    return (
        f"<h2>{escape(sheet['dataset'])}, protocol {escape(sheet['protocol'])}</h2>"
        f'<p class="soft">{escape(sheet["model"])}, {escape(sheet["split"])}; defects are cut from the output '
        f"{scored.choice.defect_output} at {limits.pixel:g}, score gate {limits.score:g}, smallest area "
        f"{limits.min_area_px:g} px.</p>{note}"
        f'<div class="row">{"".join(_charts(scored))}</div>'
        f"<h3>By class</h3>{_rows_table('class', list(sheet['by_class'].items()))}"
        f"<h3>By size of the defect</h3>"
        f"{_rows_table('area, px', [(size_name(row), row) for row in sheet['by_size']])}{_pictures(scored)}"
    )


def _charts(scored: Scored) -> Iterator[str]:
    recall, precision = _precision_recall(scored.stats)
    if len(recall):
        yield chart("Pixels: precision by recall", "recall", "precision", {"a": (recall, precision)})
    curves = scored.sheet["curves"]
    if curves:
        lines = {
            style: (np.array([row[1] for row in curves[name]]), np.array([row[2] for row in curves[name]]))
            for style, name in (("a", "by_score"), ("b", "by_map"))
        }
        values = scored.sheet["values"]
        yield chart(
            "Frames: escapes by false rejects",
            "false-reject rate",
            "escape rate",
            lines,
            dot=(values["false_reject_rate"], values["escape_rate"]),
            key='<span class="key-a">moving the score gate</span>, '
            '<span class="key-b">moving the pixel threshold</span>, dot: as shipped',
        )


def _precision_recall(stats: ImageStats) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Of the pooled pixels as the threshold falls, about 200 points."""
    background, defect = stats.histograms.sum(axis=0, dtype=np.int64)[:, ::-1].cumsum(axis=1)
    if not defect[-1]:
        return np.empty(0), np.empty(0)
    found = defect > 0
    recall, precision = defect[found] / defect[-1], defect[found] / (defect + background)[found]
    keep = np.unique(np.searchsorted(recall, np.linspace(0, 1, 200)).clip(max=len(recall) - 1))
    return recall[keep], precision[keep]


def _pictures(scored: Scored) -> str:
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
    return "".join(
        f'<h3>{title}</h3><p class="soft">Truth outlined green, found red.</p><div class="row">'
        + "".join(_figure(scored, index, text) for index, text in chosen)
        + "</div>"
        for title, chosen in groups.items()
        if chosen
    )


def _figure(scored: Scored, index: int, text: str) -> str:
    record = scored.records[index]
    words = f"{text}, score {scored.stats.score[index]:.2f}, {record.class_name}, {record.id}"
    picture, suffix = encode_picture(overlay(scored, index), ".jpg", 85)
    data = base64.b64encode(picture).decode()
    return (
        f'<figure><img width="{TILE_PX}" alt="{escape(words)}" src="data:image/{PICTURE_TYPES[suffix]};base64,{data}">'
        f"<figcaption>{escape(words)}</figcaption></figure>"
    )


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


def _rows_table(key: str, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    names = [name for name in dict.fromkeys(name for _, row in rows for name in row) if not name.endswith("_px")]
    return _table([key, *names], [[label, *(_cell(row.get(name)) for name in names)] for label, row in rows])


def _cell(value: float | None) -> str:
    return "" if value is None else str(value) if isinstance(value, int) else f"{value:.3f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell).replace('_', '_<wbr>')}</{tag}>" for cell in cells) + "</tr>"

    return f'<div class="wide"><table>{line(head, "th")}{"".join(line(row, "td") for row in rows)}</table></div>'

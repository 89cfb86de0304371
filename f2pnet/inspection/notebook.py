"""A result as a notebook shows it: the verdict, the picture with its defects outlined, and a table of them."""

from __future__ import annotations

import base64
import html
import weakref
from dataclasses import dataclass

import cv2

from f2pnet.inspection.overlay import VERDICT_COLORS, draw_overlay, rgb_of
from f2pnet.inspection.result import Defect, InspectionResult
from f2pnet.pictures.preprocess import Image

MAX_SIDE_PX = 800
ROWS = 20


@dataclass(frozen=True)
class Inspected:
    """The image behind a result, for as long as the program itself keeps it: results must not fill the memory."""

    image: weakref.ref[Image]
    size: tuple[int, int]
    """(width, height), px"""


def remember_image(result: InspectionResult, image: Image, size: tuple[int, int]) -> None:
    """Have `as_html` draw the result into this image, (width, height) px, while it is there."""
    vars(result)["inspected"] = Inspected(weakref.ref(image), size)


def as_html(result: InspectionResult) -> str:
    """An HTML fragment without scripts. Where the image is gone, the outlines of the defects are drawn alone."""
    inspected: Inspected | None = vars(result).get("inspected")
    image = None if inspected is None else inspected.image()
    if image is not None:
        picture = _image(draw_overlay(image, result))
    elif inspected is not None:
        picture = _outlines(result.defects, *inspected.size)
    else:
        picture = ""
    return f'<div style="max-width:{MAX_SIDE_PX}px">{_heading(result)}{picture}{_table(result.defects)}</div>'


def _heading(result: InspectionResult) -> str:
    color = rgb_of(VERDICT_COLORS.get(result.verdict))
    words = [result.reason, result.frame_id, None if result.score is None else f"score {result.score:.2f}"]
    described = html.escape("   ".join(word for word in words if word))
    badge = f'<b style="background:{color};color:white;padding:2px 8px">{result.verdict.value}</b>'
    return f'<div style="margin:4px 0">{badge} {described}</div>'


def _image(overlay: Image) -> str:
    height, width = overlay.shape[:2]
    scale = min(1.0, MAX_SIDE_PX / max(height, width))
    small = cv2.resize(overlay, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else overlay
    data = base64.b64encode(cv2.imencode(".jpg", small)[1].tobytes()).decode()
    return f'<img style="max-width:100%" alt="the inspected image" src="data:image/jpeg;base64,{data}">'


def _outlines(defects: list[Defect], width: int, height: int) -> str:
    shapes = "".join(f'<polygon points="{" ".join(f"{x},{y}" for x, y in defect.polygon_px)}"/>' for defect in defects)
    style = f"max-width:100%;max-height:{MAX_SIDE_PX // 2}px;border:1px solid gray"
    paint = 'fill="#c43" fill-opacity="0.4" stroke="#c43" vector-effect="non-scaling-stroke"'
    title = "<title>outlines of the defects; the image is no longer in memory</title>"
    return f'<svg viewBox="0 0 {width} {height}" style="{style}" {paint}>{title}{shapes}</svg>'


def _table(defects: list[Defect]) -> str:
    if not defects:
        return ""
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in _cells(defect)) + "</tr>"
        for defect in defects[:ROWS]
    )
    more = f"<p>and {len(defects) - ROWS} more</p>" if len(defects) > ROWS else ""
    heads = "".join(f"<th>{name}</th>" for name in ("class", "severity", "score", "area", "x, y, w, h (px)"))
    return f"<table><tr>{heads}</tr>{rows}</table>{more}"


def _cells(defect: Defect) -> list[str]:
    area = f"{defect.area_px} px" if defect.area_mm2 is None else f"{defect.area_mm2:.2f} mm²"
    return [defect.class_name, defect.severity, f"{defect.score:.2f}", area, ", ".join(map(str, defect.bbox_px))]

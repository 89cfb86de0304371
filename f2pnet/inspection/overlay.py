"""Pictures for people: the image with its defects outlined and named, and the verdict in a strip above."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from f2pnet.errors import ConfigError
from f2pnet.inspection.result import Defect, InspectionResult, Verdict
from f2pnet.pictures.preprocess import Image, as_frame

Color = tuple[float, float, float]  # BGR

MIN_SIDE_PX = 384  # smaller images are enlarged, or labels would cover them,
MAX_SIDE_PX = 4096  # but not beyond this
MAX_LABELS = 12  # the worst defects; more labels would hide what they name
STRIP_PX = 30
FONT, FONT_SCALE, LABEL_PX = cv2.FONT_HERSHEY_SIMPLEX, 0.5, 16

SEVERITY_COLORS: dict[str, Color] = {
    "info": (230, 200, 60),
    "minor": (60, 220, 250),
    "major": (30, 140, 255),
    "critical": (60, 50, 255),
}
VERDICT_COLORS: dict[Verdict, Color] = {Verdict.OK: (70, 140, 40), Verdict.NG: (40, 40, 190)}
OTHER_VERDICT: Color = (110, 110, 110)
WHITE: Color = (255, 255, 255)
BLACK: Color = (0, 0, 0)


def draw_overlay(image: Image, result: InspectionResult, mask: NDArray[np.uint8] | None = None) -> Image:
    """Draw what was found into a copy of the image: outlines, a label for each of the worst defects, the verdict.

    `image` is the inspected one, (H, W, 3) BGR or (H, W) grey, uint8. `mask` is what `Inspector.inspect_with_mask`
    returns, (H, W) uint8, 255 where a defect is; None: the outlines of the result's defects. Returns (H', W', 3) BGR,
    enlarged by a whole factor where the image is small, with a strip for the verdict on top. Raises ConfigError where
    the image is none, or the mask is of another size.
    """
    image = as_frame(image)
    height, width = image.shape[:2]
    mask = mask_of(result.defects, width, height) if mask is None else mask
    if mask.shape != (height, width):
        raise ConfigError(f"the mask is {mask.shape}; wanted the image's {(height, width)}")
    wanted_scale = -(-MIN_SIDE_PX // min(height, width))  # rounded up
    scale = max(1, min(wanted_scale, MAX_SIDE_PX // max(height, width)))
    color = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image
    canvas = np.array(cv2.resize(color, (width * scale, height * scale), interpolation=cv2.INTER_NEAREST), np.uint8)
    _draw_outlines(canvas, result, mask, scale)
    for defect in result.defects[:MAX_LABELS]:
        _draw_label(canvas, defect, scale)
    return np.vstack([_strip(result, canvas.shape[1]), canvas])


def mask_of(defects: Sequence[Defect], width: int, height: int) -> NDArray[np.uint8]:
    """(height, width) uint8, 255 within the outlines of the defects, else 0."""
    mask = np.zeros((height, width), np.uint8)
    for defect in defects:
        cv2.fillPoly(mask, [np.array(defect.polygon_px, np.int32)], 255)
    return mask


def rgb_of(color: Color | None) -> str:
    """A color of this module as CSS has it; None: that of the other verdicts."""
    blue, green, red = color or OTHER_VERDICT
    return f"rgb({red:.0f}, {green:.0f}, {blue:.0f})"


def _draw_outlines(canvas: Image, result: InspectionResult, mask: NDArray[np.uint8], scale: int) -> None:
    """All of the mask in one color, then each reported defect in that of its severity."""
    enlarged = cv2.resize(mask, (canvas.shape[1], canvas.shape[0]), interpolation=cv2.INTER_NEAREST)
    found, _ = cv2.findContours(enlarged, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    contours = [np.asarray(contour, np.int32) for contour in found]
    cv2.drawContours(canvas, contours, -1, BLACK, 3)
    cv2.drawContours(canvas, contours, -1, SEVERITY_COLORS["info"], 1)
    if not contours:
        return
    left, top, width, height = np.array([cv2.boundingRect(contour) for contour in contours]).T
    for defect in reversed(result.defects):  # the worst is drawn last
        x, y, w, h = (value * scale for value in defect.bbox_px)
        inside = (left >= x) & (top >= y) & (left + width <= x + w) & (top + height <= y + h)
        of_defect = [contours[index] for index in np.flatnonzero(inside)]
        cv2.drawContours(canvas, of_defect, -1, SEVERITY_COLORS[defect.severity], 1)


def _draw_label(canvas: Image, defect: Defect, scale: int) -> None:
    """Above the defect where there is room, else below it; always inside the picture."""
    text = f"{defect.class_name} {defect.score:.2f}"
    (width, _), _ = cv2.getTextSize(text, FONT, FONT_SCALE, 1)
    x, y, _, height = (value * scale for value in defect.bbox_px)
    left = max(0, min(x, canvas.shape[1] - width - 4))
    top = y - LABEL_PX - 2 if y >= LABEL_PX + 2 else min(y + height + 2, canvas.shape[0] - LABEL_PX)
    cv2.rectangle(canvas, (left, top), (left + width + 4, top + LABEL_PX), BLACK, -1)
    color = SEVERITY_COLORS[defect.severity]
    cv2.putText(canvas, text, (left + 2, top + LABEL_PX - 4), FONT, FONT_SCALE, color, 1, cv2.LINE_AA)


def _strip(result: InspectionResult, width: int) -> Image:
    count = len(result.defects)
    parts = [result.verdict.value, result.reason or "", "" if result.score is None else f"score {result.score:.2f}"]
    parts += [f"{count} defect{'s' * (count != 1)}"] if count else []
    strip = np.full((STRIP_PX, width, 3), VERDICT_COLORS.get(result.verdict, OTHER_VERDICT), np.uint8)
    text = "   ".join(part for part in parts if part)
    cv2.putText(strip, text, (8, STRIP_PX - 10), FONT, FONT_SCALE, WHITE, 1, cv2.LINE_AA)
    return strip

"""Pictures of a run: its curves, and the validation images it does worst and best on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from f2pnet.picture_writing import write_picture
from training.evaluate import Predicted, pixel_counts
from training.images import ImageSet, Pixels

WIDTH_PX, HEIGHT_PX, MARGIN_PX = 900, 420, 50
TILE_PX, TILES_IN_ROW, TILE_COUNT = 224, 6, 12
SMOOTHING = 15
COLOURS = [(180, 80, 30), (40, 120, 220), (60, 150, 60), (150, 60, 150), (60, 60, 60), (0, 160, 200)]  # BGR
TRUTH, FOUND = (80, 200, 80), (60, 60, 230)

Curve = list[tuple[float, float]]


def draw_curves(lines: Sequence[dict[str, Any]], path: Path) -> None:
    """Losses by step above, each a mean over SMOOTHING logged steps; foreground IoU of the validations below; a PNG."""
    losses: dict[str, Curve] = {}
    scores: dict[str, Curve] = {}
    for line in lines:
        if line["kind"] == "step":
            for name in ("mask", "pixel", "image", "prompted"):
                if name in line:
                    losses.setdefault(name, []).append((line["step"], line[name]))
        else:
            for name, values in line["datasets"].items():
                scores.setdefault(name, []).append((line["step"], values["iou"]))
    losses = {name: _smooth(curve) for name, curve in losses.items()}
    _write(path, np.vstack([_chart("loss by step", losses), _chart("validation foreground IoU by step", scores)]))


def draw_extremes(images: ImageSet, predicted: Predicted, worst: Path, best: Path) -> None:
    """The images with the lowest IoU of their mask, and the defective ones with the highest, as two PNGs.

    The truth is outlined green, what was found red.
    """
    counts = pixel_counts(predicted.mask, images.masks, threshold=0.5)
    order = sorted(range(len(images)), key=lambda i: (counts[i].iou, i))
    defective = [i for i in reversed(order) if images.records[i].label]
    for chosen, path in ((order, worst), (defective or order[::-1], best)):
        _write(path, _sheet([_tile(images, predicted, i, counts[i].iou) for i in chosen[:TILE_COUNT]]))


def _sheet(tiles: list[Pixels]) -> Pixels:
    tiles = tiles + [np.zeros((TILE_PX, TILE_PX, 3), np.uint8)] * (-len(tiles) % TILES_IN_ROW)
    return np.vstack([np.hstack(tiles[at : at + TILES_IN_ROW]) for at in range(0, len(tiles), TILES_IN_ROW)])


def _tile(images: ImageSet, predicted: Predicted, index: int, iou: float) -> Pixels:
    image = images.images[index]
    tile = np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3))[:, :, ::-1])
    tile = np.asarray(cv2.resize(tile, (TILE_PX, TILE_PX), interpolation=cv2.INTER_LINEAR), np.uint8)
    found = cv2.resize(predicted.mask[index], (TILE_PX, TILE_PX), interpolation=cv2.INTER_LINEAR) >= 0.5
    truth = cv2.resize(images.masks[index], (TILE_PX, TILE_PX), interpolation=cv2.INTER_NEAREST)
    for mask, colour in ((truth, TRUTH), (found.astype(np.uint8), FOUND)):
        outlines, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(tile, outlines, -1, colour, 1)
    text = f"{iou:.2f}  score {predicted.score[index]:.2f}  {images.records[index].class_name}"
    cv2.putText(tile, text, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (0, 255, 255), 1, cv2.LINE_AA)
    return tile


def _smooth(curve: Curve) -> Curve:
    """Single steps jump with what their few images show; a mean over some of them shows the way."""
    values = [y for _, y in curve]
    return [(x, float(np.mean(values[max(0, at - SMOOTHING + 1) : at + 1]))) for at, (x, _) in enumerate(curve)]


def _chart(title: str, curves: dict[str, Curve]) -> Pixels:
    canvas = np.full((HEIGHT_PX, WIDTH_PX, 3), 255, np.uint8)
    _text(canvas, title, (MARGIN_PX, 24))
    points = [point for curve in curves.values() for point in curve]
    if not points:
        return canvas
    last_step = max(x for x, _ in points)
    # The 98th percentile: one early spike would flatten all the rest.
    top = max(float(np.percentile([y for _, y in points], 98)), 1e-6)
    right, bottom = WIDTH_PX - MARGIN_PX, HEIGHT_PX - MARGIN_PX
    cv2.rectangle(canvas, (MARGIN_PX, MARGIN_PX), (right, bottom), (120, 120, 120), 1)
    _text(canvas, f"{top:.2f}", (4, MARGIN_PX + 5))
    _text(canvas, "0", (MARGIN_PX - 16, bottom))
    _text(canvas, f"{last_step:g}", (right - 30, bottom + 20))
    for position, (name, curve) in enumerate(curves.items()):
        xs = MARGIN_PX + (right - MARGIN_PX) * np.array([x for x, _ in curve]) / last_step
        ys = bottom - (bottom - MARGIN_PX) * np.clip(np.array([y for _, y in curve]) / top, 0, 1)
        line = np.rint(np.column_stack([xs, ys])).astype(np.int32)
        cv2.polylines(canvas, [line], False, COLOURS[position % len(COLOURS)], 1, cv2.LINE_AA)
        _text(canvas, f"{name} {curve[-1][1]:.3f}", (right - 170, MARGIN_PX + 20 * (position + 1)), COLOURS[position])
    return canvas


def _text(canvas: Pixels, text: str, at: tuple[int, int], colour: tuple[int, int, int] = (40, 40, 40)) -> None:
    cv2.putText(canvas, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)


def _write(path: Path, picture: Pixels) -> None:
    write_picture(path, picture)

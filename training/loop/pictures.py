"""The validation images that a run does worst and best on."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from f2pnet.pictures.writing import write_picture
from training.data.images import ImageSet, Pixels
from training.metrics.evaluate import Predicted, pixel_counts

TILE_PX, TILES_IN_ROW, TILE_COUNT = 224, 6, 12
TRUTH, FOUND = (80, 200, 80), (60, 60, 230)


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


def _write(path: Path, picture: Pixels) -> None:
    write_picture(path, picture)

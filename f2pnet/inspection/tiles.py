"""Cutting frames into the pieces that the network sees, and putting their maps together again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from f2pnet.inspection.recipe import Tiles

Map = NDArray[np.float32]


@dataclass(frozen=True)
class Window:
    """A piece of a frame, px."""

    x: int
    y: int
    width: int
    height: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, to index a frame with."""
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)


@dataclass(frozen=True)
class View:
    """What the engine says about one window: image score, defect map (h, w) and class map (K, h, w), all 0..1."""

    window: Window
    score: float
    probability: Map
    class_map: Map | None


@dataclass(frozen=True)
class FrameMap:
    """Defect probability of each pixel of a frame (H, W), and the index of its likeliest class (None: only one)."""

    probability: Map
    classes: NDArray[np.uint8] | None


def windows(width: int, height: int, tiles: Tiles | None) -> list[Window]:
    """Windows that cover a frame: one, or evenly spread squares that overlap at least as far as asked."""
    if tiles is None:
        return [Window(0, 0, width, height)]
    side_x, side_y = min(tiles.size_px, width), min(tiles.size_px, height)
    return [
        Window(x, y, side_x, side_y)
        for y in _starts(height, side_y, tiles.overlap_px)
        for x in _starts(width, side_x, tiles.overlap_px)
    ]


def _starts(length: int, side: int, overlap: int) -> list[int]:
    steps = -(-(length - side) // max(side - overlap, 1))  # rounded up
    return [round(step * (length - side) / steps) for step in range(steps)] + [length - side]


def merge(views: Sequence[View], width: int, height: int) -> FrameMap:
    """Bring the views' maps to source pixels, bilinear; where windows overlap, the higher probability holds.

    Pixels that no view covers are 0: a view that was found empty may be left out.
    """
    whole = Window(0, 0, width, height)
    if len(views) == 1 and views[0].window == whole:
        return FrameMap(_to_window(views[0].probability, whole), _classes_in_window(views[0]))
    probability = np.zeros((height, width), np.float32)
    has_classes = any(view.class_map is not None for view in views)
    classes = np.zeros((height, width), np.uint8) if has_classes else None
    for view in views:
        piece = probability[view.window.slices]
        found = _to_window(view.probability, view.window)
        found_classes = _classes_in_window(view)
        if classes is not None and found_classes is not None:
            np.copyto(classes[view.window.slices], found_classes, where=found > piece)
        np.maximum(piece, found, out=piece)
    return FrameMap(probability, classes)


def _to_window(values: Map, window: Window) -> Map:
    return np.asarray(cv2.resize(values, (window.width, window.height), interpolation=cv2.INTER_LINEAR), np.float32)


def _classes_in_window(view: View) -> NDArray[np.uint8] | None:
    if view.class_map is None:
        return None
    likeliest = view.class_map.argmax(axis=0).astype(np.uint8)
    size = (view.window.width, view.window.height)
    return np.asarray(cv2.resize(likeliest, size, interpolation=cv2.INTER_NEAREST), np.uint8)

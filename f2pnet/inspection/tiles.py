"""Cutting frames into the pieces that the network sees, and putting their maps together again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from f2pnet.inspection.recipe import Tiles

Map = NDArray[np.float32]

ROUNDING = 1e-6
"""How far above both its neighbours, relative to them, a value between them may come out."""


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

    def inside(self, other: Window) -> tuple[slice, slice]:
        """Rows and columns of this window, to index what shows `other` with."""
        top, left = self.y - other.y, self.x - other.x
        return slice(top, top + self.height), slice(left, left + self.width)

    def common(self, other: Window) -> Window | None:
        """What both show; None where they do not touch."""
        left, top = max(self.x, other.x), max(self.y, other.y)
        right, bottom = (
            min(self.x + self.width, other.x + other.width),
            min(self.y + self.height, other.y + other.height),
        )
        return Window(left, top, right - left, bottom - top) if left < right and top < bottom else None

    def contains(self, other: Window) -> bool:
        """Whether all of `other` is in it."""
        return self.common(other) == other


@dataclass(frozen=True)
class View:
    """What the engine says about one window: image score, defect map (h, w) and class map (K, h, w), all 0..1."""

    window: Window
    score: float
    probability: Map
    class_map: Map | None


@dataclass(frozen=True)
class FrameMap:
    """Defect probability of each pixel of a part of a frame, (H, W), and its likeliest class (None: only one)."""

    window: Window
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


def window_above(views: Sequence[View], limit: float) -> Window | None:
    """The smallest part of a frame outside of which no view's map reaches the limit; None where none does.

    A value between two cells is never above both of them, but for the rounding that `ROUNDING` allows for.
    """
    found = [part for view in views if (part := _part_above(view, limit * (1 - ROUNDING))) is not None]
    if not found:
        return None
    left, top = min(part.x for part in found), min(part.y for part in found)
    right, bottom = max(part.x + part.width for part in found), max(part.y + part.height for part in found)
    return Window(left, top, right - left, bottom - top)


def merge(views: Sequence[View], part: Window) -> FrameMap:
    """Bring the views' maps to the source pixels of a part of the frame, bilinear.

    Where views overlap, the higher probability holds. Pixels that no view covers are 0: a view that was found empty may
    be left out.
    """
    if len(views) == 1 and views[0].window.contains(part):
        of_window = part.inside(views[0].window)
        return FrameMap(part, _enlarged(views[0], of_window), _classes(views[0], of_window))
    probability = np.zeros((part.height, part.width), np.float32)
    has_classes = any(view.class_map is not None for view in views)
    classes = np.zeros((part.height, part.width), np.uint8) if has_classes else None
    for view in views:
        common = part.common(view.window)
        if common is None:
            continue
        here, there = common.inside(part), common.inside(view.window)
        piece, found, found_classes = probability[here], _enlarged(view, there), _classes(view, there)
        if classes is not None and found_classes is not None:
            np.copyto(classes[here], found_classes, where=found > piece)
        np.maximum(piece, found, out=piece)
    return FrameMap(part, probability, classes)


def _enlarged(view: View, part: tuple[slice, slice]) -> Map:
    """Rows and columns of a view's map at source pixels.

    All of it is enlarged: of a part that is cut out first, OpenCV rounds some pixels otherwise.
    """
    size = (view.window.width, view.window.height)
    return np.asarray(cv2.resize(view.probability, size, interpolation=cv2.INTER_LINEAR)[part], np.float32)


def _classes(view: View, part: tuple[slice, slice]) -> NDArray[np.uint8] | None:
    if view.class_map is None:
        return None
    likeliest = view.class_map.argmax(axis=0).astype(np.uint8)
    size = (view.window.width, view.window.height)
    return np.asarray(cv2.resize(likeliest, size, interpolation=cv2.INTER_NEAREST)[part], np.uint8)


def _part_above(view: View, limit: float) -> Window | None:
    above, window = view.probability >= limit, view.window
    rows, columns = np.flatnonzero(above.any(axis=1)), np.flatnonzero(above.any(axis=0))
    if not len(rows):
        return None
    down = _reach(int(rows[0]), int(rows[-1]), above.shape[0], window.height)
    across = _reach(int(columns[0]), int(columns[-1]), above.shape[1], window.width)
    return Window(window.x + across.start, window.y + down.start, across.stop - across.start, down.stop - down.start)


def _reach(first: int, last: int, cells: int, pixels: int) -> slice:
    """The pixels along one side, of `pixels`, to which the cells from first to last contribute, out of `cells`."""
    start = (first - 0.5) * pixels / cells - 0.5
    stop = (last + 1.5) * pixels / cells - 0.5
    return slice(max(0, int(start)), min(pixels, int(stop) + 2))

"""The six kinds of defect that the synthetic conveyor draws.

A painter returns a `Stamp`: where the defect is (the truth) and what it does to the grey values there. Shapes are
drawn at twice the size and averaged down, so that edges are smooth; contrast is a random multiple of the texture's own
strength above a floor, so that some defects are hard, none is invisible. Lengths are for a frame whose shorter side has
512 px, times `Palette.scale`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from f2pnet.config.sources import DefectName
from pipeline.sources.conveyor.textures import Bytes, Floats, to_bytes

OVERSAMPLING = 2
TRUTH_COVERAGE = 0.5  # a pixel belongs to the defect when it is covered at least this far
MARGIN_PX = 3  # empty border of a stamp, so that smooth edges end inside it
THINNEST_PX = 2.0  # thinner lines vanish when a frame is made smaller for the network
SMALLEST_RADIUS_PX = 4.0  # about 50 px of area: still seen by a person

Points = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Palette:
    """What a painter must know of the surface: `scale` (see module), grain in grey levels, direction in radians."""

    rng: np.random.Generator
    scale: float
    grain_std: float
    direction_rad: float | None
    largest_px: float

    def px(self, low: float, high: float, *, floor_px: float = 0.0) -> float:
        """A random length in px of this frame."""
        return min(self.largest_px, max(floor_px, self.rng.uniform(low, high) * self.scale))

    def contrast(self, floor_grey: float, low: float, high: float) -> float:
        """A random difference in grey levels: a floor plus a multiple of the texture's strength."""
        return floor_grey + self.grain_std * self.rng.uniform(low, high)

    def angle_across_texture(self) -> float:
        """A direction that no streak of the texture has."""
        if self.direction_rad is None:
            return self.rng.uniform(0, np.pi)
        return self.direction_rad + self.rng.uniform(np.radians(30), np.radians(150))

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)


@dataclass(frozen=True)
class Stamp:
    """One defect, ready to be put somewhere. All arrays are float32 (h, w).

    `coverage`: 0..1, truth where >= TRUTH_COVERAGE. `delta`: grey levels to add. `fade`: 0..1, how much of the texture
    is replaced by its local mean before `delta` is added, or None for not at all.
    """

    coverage: Floats
    delta: Floats
    fade: Floats | None = None

    @property
    def truth(self) -> npt.NDArray[np.bool_]:
        """The pixels that belong to the defect."""
        covered: npt.NDArray[np.bool_] = self.coverage >= TRUTH_COVERAGE
        return covered

    def apply(self, patch: Bytes) -> Bytes:
        """Draw the defect into a uint8 (h, w) piece of surface; returns the changed piece."""
        grey = patch.astype(np.float32)
        if self.fade is not None:
            window = max(9, min(patch.shape) // 2 | 1)
            smooth = cv2.blur(cv2.blur(grey, (window, window)), (window, window))
            grey += self.fade * (smooth - grey)
        return to_bytes(grey + self.delta)


def make_stamp(name: DefectName, palette: Palette) -> Stamp:
    """Draw one defect of kind `name`."""
    return _PAINTERS[name](palette)


def _scratch(palette: Palette) -> Stamp:
    """A long, slightly bent line with tapered ends: a bright burr beside a dark groove, or the other way round."""
    rng = palette.rng
    length, width = palette.px(70, 300), palette.px(2.2, 4.2, floor_px=THINNEST_PX)
    angle, bend = palette.angle_across_texture(), rng.normal(0, 0.35)
    along = np.linspace(0, 1, 25)
    heading = angle + bend * (along - 0.5)
    path = np.cumsum(np.stack([np.cos(heading), np.sin(heading)], 1) * length / len(along), 0)
    widths, aside = width * _taper(along), 0.7 * width * _normal(angle)
    groove, beside = _strokes([(path, widths), (path + aside, 0.8 * widths)])
    amount = palette.contrast(18, 1.5, 3.6) * (1 if palette.chance(0.65) else -1)
    delta = amount * (groove - 0.55 * np.maximum(beside - groove, 0))
    return Stamp(np.maximum(groove, beside), delta.astype(np.float32))


def _crack(palette: Palette) -> Stamp:
    """A jagged dark line that wanders, thins out and sometimes forks."""
    rng = palette.rng
    width = palette.px(2.4, 4.6, floor_px=THINNEST_PX)
    heading = palette.angle_across_texture() if palette.chance(0.7) else rng.uniform(0, np.pi)
    trunk = _wander(rng, heading, palette.px(90, 280), palette.px(7, 12, floor_px=4.0))
    strokes = [(trunk, width * _taper(np.linspace(0, 1, len(trunk))))]
    for _ in range(rng.integers(0, 3)):
        start = int(rng.integers(len(trunk) // 4, 3 * len(trunk) // 4))
        turn = rng.choice([-1, 1]) * rng.uniform(0.4, 1.0)
        branch = trunk[start] + _wander(rng, heading + turn, palette.px(30, 90), palette.px(6, 10, floor_px=4.0))
        strokes.append((branch, np.maximum(THINNEST_PX, 0.75 * width * np.linspace(1, 0.5, len(branch)))))
    coverage = np.maximum.reduce(_strokes(strokes))
    return Stamp(coverage, -palette.contrast(20, 1.6, 3.4) * coverage)


def _pit(palette: Palette) -> Stamp:
    """One to three small holes: dark inside, with a bright crescent on the rim that faces the light."""
    rng = palette.rng
    light = rng.uniform(0, 2 * np.pi)
    toward = np.array([np.cos(light), np.sin(light)])
    holes, rims = [], []
    for number in range(rng.integers(1, 4)):
        radius = palette.px(5, 12, floor_px=SMALLEST_RADIUS_PX)
        centre = np.zeros(2) if number == 0 else rng.normal(0, 1, 2) * palette.px(12, 30)
        hole = centre + _blob(rng, radius, 0.10)
        holes.append(hole)
        rims.append(centre + 1.12 * (hole - centre) + 0.22 * radius * toward)
    hole_area, rim_area = _polygons([holes, rims])
    crescent = np.maximum(rim_area - hole_area, 0)
    amount = palette.contrast(24, 1.5, 3.2)
    delta = amount * (0.7 * crescent - hole_area)
    return Stamp(np.maximum(hole_area, crescent), delta)


def _stain(palette: Palette) -> Stamp:
    """A spread-out spot of oil or water: soft border, darker rim, uneven inside."""
    rng = palette.rng
    radius = palette.px(20, 62, floor_px=3 * SMALLEST_RADIUS_PX)
    outline = _blob(rng, radius, 0.22) * [1.0, rng.uniform(0.55, 1.0)]
    (sharp,) = _polygons([[outline]], margin_px=MARGIN_PX + round(0.2 * radius))
    soft = cv2.GaussianBlur(sharp, (0, 0), 0.07 * radius)
    inner = cv2.GaussianBlur(sharp, (0, 0), 0.18 * radius)
    rim = rng.uniform(0, 0.9) * np.maximum(soft - inner, 0)
    amount = palette.contrast(11, 0.7, 1.7) * (-1 if palette.chance(0.7) else 1)
    delta = amount * (soft * (1 + 0.2 * _clouds(rng, sharp.shape)) + rim)
    return Stamp(sharp, delta.astype(np.float32), 0.3 * soft)


def _inclusion(palette: Palette) -> Stamp:
    """Foreign matter rolled or woven in: one to four ragged flakes in a row, mostly dark."""
    rng = palette.rng
    angle = rng.uniform(0, np.pi) if palette.direction_rad is None else palette.direction_rad + rng.normal(0, 0.3)
    step = np.array([np.cos(angle), np.sin(angle)])
    turn = np.array([step, [-step[1], step[0]]])
    flakes, position = [], 0.0
    for _ in range(rng.integers(1, 5)):
        half_length = palette.px(8, 22, floor_px=1.6 * SMALLEST_RADIUS_PX)
        half_width = palette.px(4, 8, floor_px=0.8 * SMALLEST_RADIUS_PX)
        shape = _blob(rng, 1.0, 0.16) * [half_length, half_width]
        flakes.append(shape @ turn + position * step + rng.normal(0, 0.4 * half_width) * turn[1])
        position += half_length * rng.uniform(1.6, 2.6)
    (coverage,) = _polygons([flakes])
    amount = palette.contrast(20, 1.4, 3.0) * (-1 if palette.chance(0.8) else 1)
    delta = amount * coverage * (1 + 0.2 * _clouds(rng, coverage.shape))
    return Stamp(coverage, delta.astype(np.float32), 0.5 * coverage)


def _missing_texture(palette: Palette) -> Stamp:
    """A patch where the structure is gone: unbrushed, unwoven, unfilled; smooth and a little off in brightness."""
    rng = palette.rng
    radius = palette.px(24, 64, floor_px=3.5 * SMALLEST_RADIUS_PX)
    outline = _blob(rng, radius, 0.16) * [1.0, rng.uniform(0.5, 1.0)]
    (sharp,) = _polygons([[outline]], margin_px=MARGIN_PX + round(0.1 * radius))
    soft = cv2.GaussianBlur(sharp, (0, 0), 0.6 + 0.02 * radius)
    shift = palette.contrast(9, 0.3, 0.9) * rng.choice([-1, 1])
    return Stamp(sharp, (shift * soft * (1 + 0.15 * _clouds(rng, sharp.shape))).astype(np.float32), 0.92 * soft)


_PAINTERS: dict[DefectName, Callable[[Palette], Stamp]] = {
    "scratch": _scratch,
    "pit": _pit,
    "crack": _crack,
    "stain": _stain,
    "inclusion": _inclusion,
    "missing_texture": _missing_texture,
}


def _taper(along: Points) -> Points:
    """Relative width of a line that starts and ends thin; `along` 0..1."""
    return 0.6 + 0.4 * np.sin(np.pi * along) ** 0.5


def _normal(angle: float) -> Points:
    return np.array([-np.sin(angle), np.cos(angle)])


def _wander(rng: np.random.Generator, heading: float, length: float, step: float) -> Points:
    """Points of a jagged walk of about `length` px that keeps its heading on the whole."""
    count = max(4, round(length / step))
    headings = heading + 0.45 * rng.standard_normal(count) + 0.12 * np.cumsum(rng.standard_normal(count))
    steps = step * np.stack([np.cos(headings), np.sin(headings)], 1)
    return np.concatenate([np.zeros((1, 2)), np.cumsum(steps, 0)])


def _blob(rng: np.random.Generator, radius: float, roughness: float) -> Points:
    """Outline of a rounded irregular spot around (0, 0)."""
    theta = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    swell = np.zeros_like(theta)
    for wave in range(2, 8):
        swell += rng.normal(0, roughness / wave**0.8) * np.cos(wave * theta + rng.uniform(0, 2 * np.pi))
    reach = radius * np.clip(1 + swell, 0.6, 1.5)
    return np.stack([reach * np.cos(theta), reach * np.sin(theta)], 1)


def _clouds(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Unevenness that varies slowly over a stamp, about -2..2."""
    coarse = rng.standard_normal((5, 5), dtype=np.float32)
    return np.asarray(cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC), np.float32)


def _strokes(strokes: list[tuple[Points, Points]]) -> list[Floats]:
    """Coverage of each line (points, width at each point, both px) on one common canvas."""
    reach = max(float(widths.max()) for _, widths in strokes) / 2
    origin, shape = _canvas(np.concatenate([points for points, _ in strokes]), MARGIN_PX + reach)
    drawn = []
    for points, widths in strokes:
        canvas = np.zeros(shape, np.uint8)
        corners = np.rint((points - origin) * OVERSAMPLING).astype(int).tolist()
        for start, end, width in zip(corners, corners[1:], widths[1:], strict=False):
            cv2.line(canvas, start, end, 255, max(1, round(width * OVERSAMPLING)))
        drawn.append(_shrink(canvas))
    return drawn


def _polygons(layers: list[list[Points]], margin_px: float = MARGIN_PX) -> list[Floats]:
    """Coverage of each layer of filled outlines (px) on one common canvas."""
    origin, shape = _canvas(np.concatenate([outline for layer in layers for outline in layer]), margin_px)
    drawn = []
    for layer in layers:
        canvas = np.zeros(shape, np.uint8)
        for outline in layer:
            cv2.fillPoly(canvas, [np.rint((outline - origin) * OVERSAMPLING).astype(np.int32)], 255)
        drawn.append(_shrink(canvas))
    return drawn


def _canvas(points: Points, margin_px: float) -> tuple[Points, tuple[int, int]]:
    """Upper left corner in px, and (height, width) of the enlarged canvas that holds `points` and a margin."""
    origin = np.floor(points.min(0) - margin_px)
    width, height = np.ceil(points.max(0) + margin_px) - origin
    return origin, (int(height) * OVERSAMPLING, int(width) * OVERSAMPLING)


def _shrink(canvas: Bytes) -> Floats:
    size = (canvas.shape[1] // OVERSAMPLING, canvas.shape[0] // OVERSAMPLING)
    return cv2.resize(canvas, size, interpolation=cv2.INTER_AREA).astype(np.float32) / np.float32(255)

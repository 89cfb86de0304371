"""The synthetic conveyor: any frame of an endless belt, with the exact truth about it.

    surface tiles --cut--> belt section --stamps--> with defects --light--> --noise--> frame

Frame `i` shows rows `i * height` to `(i + 1) * height` of the belt, so no defect is seen twice. Every frame can be had
at any time in any order; it depends on the configuration and its index only. What is costly is made once; a frame is
cut from tiles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from f2pnet.config.sources import DEFECTS, TEXTURES, DefectName, SyntheticSource
from pipeline.sources.conveyor.defects import Palette, Stamp, make_stamp
from pipeline.sources.conveyor.textures import Bytes, make_surface, to_bytes

REFERENCE_SIDE_PX = 512  # lengths of textures and defects are given for this shorter side
MIN_SCALE = 0.35
MORE_DEFECTS = (0.72, 0.94)  # a defective frame has one defect below the first number, two below the second, else three
PLACING_TRIES = 12
TILE_TO_FRAME = (1.4, 1.15)  # height and width of the grain's tile against the frame's
MOTTLE_TO_FRAME = (1.7, 1.3)
LIGHT_FALL_OFF = 0.14  # the corner of a frame is at most this much darker than its brightest place
STREAM_SURFACE, STREAM_DEFECTS = 0, 1  # parts of one seed, so that the surface is the same with and without defects


Box = tuple[int, int, int, int]  # top, left, height, width


@dataclass(frozen=True)
class TrueDefect:
    """One drawn defect: `bbox_px` (x, y, width, height) and `area_px` of its pixels in the mask."""

    class_name: DefectName
    bbox_px: tuple[int, int, int, int]
    area_px: int


@dataclass(frozen=True)
class ConveyorFrame:
    """A frame and its truth.

    `image`: uint8 (H, W) grey. `mask`: uint8 (H, W), 0 good, 255 defect. `class_mask`: uint8 (H, W), 0 good, else one
    more than the defect's place in `f2pnet.config.sources.DEFECTS`.
    """

    image: Bytes
    mask: Bytes
    class_mask: Bytes
    defects: tuple[TrueDefect, ...]


class Conveyor:
    """An endless belt as `config` describes it (its `fps` and `frames` are the camera's business, not the belt's)."""

    def __init__(self, config: SyntheticSource) -> None:
        self.config = config
        width, height = config.size_px
        self._shape = height, width
        self._scale = max(MIN_SCALE, min(width, height) / REFERENCE_SIDE_PX)
        self._key = (config.seed, TEXTURES.index(config.texture))
        rng = np.random.default_rng((*self._key, STREAM_SURFACE))
        grain_shape, mottle_shape = _tile_shape(self._shape, TILE_TO_FRAME), _tile_shape(self._shape, MOTTLE_TO_FRAME)
        self._surface = make_surface(config.texture, rng, grain_shape, mottle_shape, self._scale)
        self._grain = _Tile(self._surface.grain, self._shape)
        self._mottle = _Tile(self._surface.mottle, self._shape)
        noise = 128 + config.noise_grey * rng.standard_normal(_tile_shape(self._shape, (1.2, 1.2)), dtype=np.float32)
        self._noise = _Tile(to_bytes(noise), self._shape)
        self._light = _light_profile(rng, self._shape)
        self._drift_phases = rng.uniform(0, 2 * np.pi, 3)

    def frame(self, index: int) -> ConveyorFrame:
        """Frame `index` (0, 1, 2 ...) of the belt."""
        section = self._section(index)
        class_mask = np.zeros(self._shape, np.uint8)
        defects = []
        for name, stamp, y, x in self._placed_stamps(index):
            place = np.s_[y : y + stamp.coverage.shape[0], x : x + stamp.coverage.shape[1]]
            section[place] = stamp.apply(section[place])
            class_mask[place][stamp.truth] = DEFECTS.index(name) + 1
            defects.append(_true_defect(name, stamp, y, x))
        mask = np.where(class_mask > 0, np.uint8(255), np.uint8(0)) if defects else class_mask
        return ConveyorFrame(self._photographed(section, index), mask, class_mask, tuple(defects))

    def defective(self, index: int) -> bool:
        """Whether frame `index` has a defect, without drawing it."""
        return self._defect_rng(index)[1]

    def _defect_rng(self, index: int) -> tuple[np.random.Generator, bool]:
        if index < 0:
            raise ValueError(f"frame {index}: a belt begins at frame 0")
        rng = np.random.default_rng((*self._key, STREAM_DEFECTS, index))
        return rng, bool(rng.random() < self.config.defect_rate)

    def _placed_stamps(self, index: int) -> Iterator[tuple[DefectName, Stamp, int, int]]:
        """(name, stamp, top, left) of each defect; none overlaps another, so that each keeps its own truth."""
        rng, defective = self._defect_rng(index)
        if not defective:
            return
        palette = Palette(
            rng, self._scale, self._surface.grain_std, self._surface.direction_rad, largest_px=0.55 * min(self._shape)
        )
        taken: list[Box] = []
        for _ in range(1 + int(np.searchsorted(MORE_DEFECTS, rng.random()))):
            name = self.config.defects[int(rng.integers(len(self.config.defects)))]
            stamp = self._fitting_stamp(name, palette)
            place = self._free_place(rng, stamp, taken)
            if place is not None:  # always so for the first, since it fits and nothing is taken yet
                top, left = place
                taken.append((top, left, *stamp.coverage.shape))
                yield name, stamp, top, left

    def _fitting_stamp(self, name: DefectName, palette: Palette) -> Stamp:
        """A stamp that fits into the frame; cracks that wandered too far are cut."""
        stamp = make_stamp(name, palette)
        height, width = self._shape
        room = np.s_[:height, :width]
        return Stamp(stamp.coverage[room], stamp.delta[room], None if stamp.fade is None else stamp.fade[room])

    def _free_place(self, rng: np.random.Generator, stamp: Stamp, taken: list[Box]) -> tuple[int, int] | None:
        """Top and left of a random place that touches no box in `taken`; None when none was found."""
        height, width = stamp.coverage.shape
        for _ in range(PLACING_TRIES):
            top = int(rng.integers(self._shape[0] - height + 1))
            left = int(rng.integers(self._shape[1] - width + 1))
            if not any(_overlap((top, left, height, width), box) for box in taken):
                return top, left
        return None

    def _section(self, index: int) -> Bytes:
        """The bare surface under frame `index`: uint8 (H, W), evenly lit."""
        top = index * self._shape[0]
        sideways = round(6 * self._scale * np.sin(index / 17))  # belts wander a little on their rollers
        grain, mottle = self._grain.cut(top, sideways), self._mottle.cut(top, sideways)
        return cv2.addWeighted(grain, 1, mottle, 1, -128).astype(np.uint8, copy=False)

    def _photographed(self, section: Bytes, index: int) -> Bytes:
        """`section` under the lamp and through the camera of this moment."""
        rhythms = np.sin(index / np.array([23.0, 71.0, 311.0]) + self._drift_phases)
        gain = 1 + self.config.light_drift * float(rhythms @ [0.25, 0.35, 0.4])
        lit = cv2.multiply(section, self._light, scale=1 / 255)
        noise = self._noise.cut(index * 7919, index * 104_729)  # far apart from frame to frame
        return cv2.addWeighted(lit, gain, noise, 1, -128).astype(np.uint8, copy=False)


class _Tile:
    """A tile that repeats without end, of which a piece as large as a frame can be cut without a copy."""

    def __init__(self, tile: Bytes, frame_shape: tuple[int, int]) -> None:
        self._period = tile.shape
        self._frame = frame_shape
        self._repeated = np.pad(tile, ((0, frame_shape[0]), (0, frame_shape[1])), mode="wrap")

    def cut(self, top: int, left: int) -> Bytes:
        y, x = top % self._period[0], left % self._period[1]
        return self._repeated[y : y + self._frame[0], x : x + self._frame[1]]


def _tile_shape(frame_shape: tuple[int, int], ratio: tuple[float, float]) -> tuple[int, int]:
    height, width = (cv2.getOptimalDFTSize(round(side * times)) for side, times in zip(frame_shape, ratio, strict=True))
    return height, width


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]


def _light_profile(rng: np.random.Generator, shape: tuple[int, int]) -> Bytes:
    """Uneven lighting across the frame: uint8 (H, W), 255 where it is brightest."""
    y, x = np.meshgrid(np.linspace(-1, 1, shape[0]), np.linspace(-1, 1, shape[1]), indexing="ij")
    centre_y, centre_x = rng.uniform(-0.6, 0.6, 2)
    distance = (y - centre_y) ** 2 + (x - centre_x) ** 2
    fall_off: npt.NDArray[np.float64] = LIGHT_FALL_OFF * rng.uniform(0.3, 1.0) * distance / distance.max()
    return to_bytes(255 * (1 - fall_off))


def _true_defect(name: DefectName, stamp: Stamp, y: int, x: int) -> TrueDefect:
    left, top, width, height = cv2.boundingRect(stamp.truth.astype(np.uint8))
    return TrueDefect(name, (x + left, y + top, width, height), int(stamp.truth.sum()))

"""The four surfaces of the synthetic conveyor, as tiles that repeat without a seam.

A surface is made once, when a belt is opened; frames are then cut from its tiles. All noise is filtered in the
frequency domain, so that a tile joins itself at its borders, and clipped at `GRAIN_CLIP` standard deviations, so that
a good surface holds no accidents that look like a defect. Lengths are given for a frame whose shorter side has 512 px
and multiplied by `scale` for others: a frame shows the same piece of surface whatever its number of pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from f2pnet.config.sources import TextureName

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Transfer = Callable[[Floats, Floats], Floats]

GRAIN_CLIP = 2.4
MOTTLE_SHRINK = 8  # the slow brightness of a surface is made this much smaller, then enlarged


@dataclass(frozen=True)
class Surface:
    """One belt's material.

    `grain`: uint8 (H, W) tile, the texture itself. `mottle`: uint8 (h, w) tile of another size, slow variation
    around 128 that is added to the grain, so that the two together repeat only after a long way.
    `mean_grey`, `grain_std` in grey levels. `direction_rad`: where the texture runs (0: along the
    rows), None if nowhere.
    """

    grain: Bytes
    mottle: Bytes
    mean_grey: float
    grain_std: float
    direction_rad: float | None


def make_surface(
    texture: TextureName,
    rng: np.random.Generator,
    grain_shape: tuple[int, int],
    mottle_shape: tuple[int, int],
    scale: float,
) -> Surface:
    """Make the material `texture`; its strength, fineness and direction vary a little with `rng`.

    Tiles come out at least as large as the given (height, width) in px.
    """
    mean_grey, grain_std, relief, direction = _PAINTERS[texture](rng, grain_shape, scale)
    grain = mean_grey + grain_std * np.clip(relief, -GRAIN_CLIP, GRAIN_CLIP)
    mottle = 128 + grain_std * rng.uniform(0.15, 0.35) * _mottle(rng, mottle_shape, scale)
    return Surface(to_bytes(grain), to_bytes(mottle), mean_grey, grain_std, direction)


def periodic_noise(rng: np.random.Generator, shape: tuple[int, int], transfer: Transfer) -> Floats:
    """Noise of mean 0 and deviation 1 that joins itself at the borders; (H, W) float32.

    `transfer` gives the gain at vertical and horizontal frequencies in cycles per px.
    """
    height, width = shape
    frequency_y = np.fft.fftfreq(height).astype(np.float32)[:, None]
    frequency_x = np.fft.rfftfreq(width).astype(np.float32)[None, :]
    spectrum = np.fft.rfft2(rng.standard_normal(shape, dtype=np.float32))
    spectrum *= transfer(frequency_y, frequency_x)
    spectrum[0, 0] = 0
    noise = np.fft.irfft2(spectrum, s=shape).astype(np.float32)
    return noise / np.float32(noise.std())


def blur(sigma_y: float, sigma_x: float) -> Transfer:
    """Gaussian blur with deviations in px."""

    def transfer(frequency_y: Floats, frequency_x: Floats) -> Floats:
        return np.exp(-2 * np.pi**2 * ((sigma_y * frequency_y) ** 2 + (sigma_x * frequency_x) ** 2))

    return transfer


def _mottle(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> Floats:
    """Slow brightness of the whole surface, some hundred px wide."""
    small = (max(8, -(-shape[0] // MOTTLE_SHRINK)), max(8, -(-shape[1] // MOTTLE_SHRINK)))
    sigma = rng.uniform(45, 80) * scale / MOTTLE_SHRINK
    noise = periodic_noise(rng, small, blur(sigma, sigma))
    around = np.pad(noise, 2, mode="wrap")  # enlarge beyond the borders, then cut: the seam stays invisible
    large = cv2.resize(around, None, fx=MOTTLE_SHRINK, fy=MOTTLE_SHRINK, interpolation=cv2.INTER_CUBIC)
    edge = 2 * MOTTLE_SHRINK
    return np.clip(large[edge:-edge, edge:-edge], -2, 2).astype(np.float32)


def _brushed_steel(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> _Painted:
    """Streaks of several lengths along the rows, with a little grit across them."""
    relief = np.zeros(shape, np.float32)
    for length, fineness, share in ((18, 0.55, 0.5), (55, 0.8, 0.6), (160, 1.3, 0.45)):
        stretch = rng.uniform(0.8, 1.25)
        relief += share * periodic_noise(rng, shape, blur(fineness * scale, length * stretch * scale))
    relief += 0.2 * periodic_noise(rng, shape, blur(0.5 * scale, 0.5 * scale))
    return rng.uniform(135, 168), rng.uniform(6.5, 10), relief / relief.std(), 0.0


def _cast(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> _Painted:
    """The grain of a sand mould under slanting light: the slope of a rough height, seen from one side."""
    height = np.zeros(shape, np.float32)
    for size, share in ((0.9, 0.5), (1.8, 1.0), (3.6, 1.4)):
        height += share * size * periodic_noise(rng, shape, blur(size * scale, size * scale))
    angle = rng.uniform(0, 2 * np.pi)
    slope = np.cos(angle) * (np.roll(height, 1, 1) - height) + np.sin(angle) * (np.roll(height, 1, 0) - height)
    relief = slope / slope.std() + 0.35 * height / height.std()
    return rng.uniform(100, 135), rng.uniform(8, 12), relief / relief.std(), None


def _dagm(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> _Painted:
    """A statistical texture as in the DAGM 2007 pictures: one preferred wavelength and direction, plus fine noise."""
    angle, wavelength = rng.uniform(0, np.pi), rng.uniform(9, 15) * scale
    along, across, spread = np.cos(angle), np.sin(angle), rng.uniform(0.30, 0.45)

    def band(frequency_y: Floats, frequency_x: Floats) -> Floats:
        u = (frequency_x * along + frequency_y * across) * wavelength
        v = (frequency_y * along - frequency_x * across) * wavelength
        gain: Floats = np.exp(-(((np.abs(u) - 1) ** 2) + 0.35 * v**2) / (2 * spread**2))
        return gain

    relief = periodic_noise(rng, shape, band) + 0.45 * periodic_noise(rng, shape, blur(0.8 * scale, 0.8 * scale))
    return rng.uniform(112, 145), rng.uniform(9, 14), relief / relief.std(), angle + np.pi / 2


def _woven(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> _Painted:
    """Plain weave: round threads that pass over and under each other, no two alike, lines a little wavy."""
    pitch = rng.uniform(9, 13) * scale
    rows, columns = (max(2, 2 * round(side / pitch / 2)) for side in shape)  # even: the weave joins itself
    v, u = np.meshgrid(
        np.arange(shape[0], dtype=np.float32) * (rows / shape[0]),
        np.arange(shape[1], dtype=np.float32) * (columns / shape[1]),
        indexing="ij",
    )
    wobble, fibre = blur(25 * scale, 25 * scale), 0.07
    v += 0.08 * periodic_noise(rng, shape, wobble)
    u += 0.08 * periodic_noise(rng, shape, wobble)
    row, column = np.floor(v).astype(np.int32) % rows, np.floor(u).astype(np.int32) % columns
    across_weft, across_warp = v - np.floor(v) - 0.5, u - np.floor(u) - 0.5
    weft_shade, warp_shade = rng.normal(0, 0.05, rows), rng.normal(0, 0.05, columns)
    weft = (
        _thread(across_weft, across_warp) + weft_shade[row] + fibre * periodic_noise(rng, shape, blur(0.6, 3 * scale))
    )
    warp = (
        _thread(across_warp, across_weft)
        + warp_shade[column]
        + fibre * periodic_noise(rng, shape, blur(3 * scale, 0.6))
    )
    cloth = np.where((row + column) % 2 == 0, warp, weft - 0.06).astype(np.float32)
    soft = 0.07 * pitch
    cloth = cv2.GaussianBlur(np.pad(cloth, 8, mode="wrap"), (0, 0), soft)[8:-8, 8:-8]
    return rng.uniform(118, 150), rng.uniform(13, 18), (cloth - cloth.mean()) / cloth.std(), None


def _thread(across: Floats, along: Floats) -> Floats:
    """Brightness of a round thread that dives at its ends; both coordinates -0.5..0.5 within one crossing."""
    roundness = np.sqrt(np.maximum(0.05, 1 - (1.75 * across) ** 2))
    shade: Floats = roundness * (0.72 + 0.28 * np.cos(np.pi * along))
    return shade


def to_bytes(grey: npt.NDArray[np.floating]) -> Bytes:
    """Grey levels as uint8, rounded, cut off at black and white."""
    return np.asarray(np.clip(np.rint(grey), 0, 255), np.uint8)


_Painted = tuple[float, float, Floats, float | None]  # mean grey, grain deviation, relief (deviation 1), direction
_PAINTERS: dict[TextureName, Callable[[np.random.Generator, tuple[int, int], float], _Painted]] = {
    "brushed_steel": _brushed_steel,
    "woven": _woven,
    "cast": _cast,
    "dagm": _dagm,
}

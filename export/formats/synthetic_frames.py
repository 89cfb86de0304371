"""Frames drawn in code: what an engine is proven on where no data set is named, and pictures at the edges of a camera.

They come out the same everywhere and need no file, so that any machine can prove an engine it has built.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from f2pnet.pictures.preprocess import Image

COUNT = 32
SIDES_PX = ((240, 320), (256, 256), (400, 300), (512, 512))
GOOD_EVERY = 4
"""One part in four is without a defect, so that verdicts of both kinds are compared."""


def synthetic_frames(count: int = COUNT, seed: int = 0) -> list[Image]:
    """Parts with brushed, cast or woven surfaces; three of four carry scratches, pits or stains. Grey and BGR."""
    return [_frame(number, np.random.default_rng([seed, number])) for number in range(count)]


def probe_frames(size: int) -> dict[str, Image]:
    """(size, size, 3) pictures that real cameras give on bad days, where overflow and division by zero show."""
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    frames = {name: np.full((size, size, 3), grey, np.uint8) for name, grey in (("black", 0), ("grey", 128))}
    frames |= {"white": np.full((size, size, 3), 255, np.uint8), "noise": noise}
    frames["saturated"] = np.where(noise < 128, 0, 255).astype(np.uint8)
    for period in (1, 8):
        cells = np.add.outer(np.arange(size) // period, np.arange(size) // period) % 2
        frames[f"checkerboard {period} px"] = np.repeat((cells * 255).astype(np.uint8)[..., None], 3, axis=2)
    for channel, name in enumerate(("red", "green", "blue")):
        frames[name] = np.zeros((size, size, 3), np.uint8)
        frames[name][..., channel] = 255
    return frames


def _frame(number: int, rng: np.random.Generator) -> Image:
    height, width = SIDES_PX[number % len(SIDES_PX)]
    surface = _surface(number, height, width, rng)
    if number % GOOD_EVERY:
        for _ in range(int(rng.integers(1, 4))):
            (_scratch, _pit, _stain)[int(rng.integers(3))](surface, rng)
    grey = np.clip(surface, 0, 255).astype(np.uint8)
    if number % 3:
        return grey
    tint = rng.uniform(0.8, 1.0, 3)
    return np.ascontiguousarray((grey[..., None] * tint).astype(np.uint8))


def _surface(number: int, height: int, width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """(height, width) float32 about a mean grey; the kernel stretches the noise into the texture."""
    kernel = ((1, 31), (9, 9), (15, 3))[number % 3]
    noise = cv2.blur(rng.normal(0, 1, (height, width)).astype(np.float32), kernel)
    noise = noise * (rng.uniform(4, 12) / float(noise.std()))
    light = np.linspace(-15, 15, width, dtype=np.float32) * rng.uniform(-1, 1)
    surface: NDArray[np.float32] = (rng.uniform(80, 170) + noise + light).astype(np.float32)
    return surface


def _scratch(surface: NDArray[np.float32], rng: np.random.Generator) -> None:
    height, width = surface.shape
    start = rng.uniform(0, 1, 2) * (width, height)
    steps = rng.normal(0, 1, (12, 2)) * 6 + rng.normal(0, 1, 2) * 8
    points = (start + np.cumsum(steps, axis=0)).astype(np.int32)
    depth = float(rng.choice([-70, 70]))
    cv2.polylines(surface, [points], False, float(surface.mean()) + depth, int(rng.integers(1, 4)), cv2.LINE_AA)


def _pit(surface: NDArray[np.float32], rng: np.random.Generator) -> None:
    height, width = surface.shape
    centre = (int(rng.integers(width)), int(rng.integers(height)))
    cv2.circle(surface, centre, int(rng.integers(3, 14)), float(surface.mean()) - 60, -1, cv2.LINE_AA)


def _stain(surface: NDArray[np.float32], rng: np.random.Generator) -> None:
    height, width = surface.shape
    stain = np.zeros_like(surface)
    axes = (int(rng.integers(10, 50)), int(rng.integers(8, 30)))
    centre = (int(rng.integers(width)), int(rng.integers(height)))
    cv2.ellipse(stain, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1.0, -1)
    surface += cv2.GaussianBlur(stain, (0, 0), 4) * float(rng.choice([-45, 45]))

"""Augmentation: what changes between shifts, drawn anew for every image a step sees."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from training.images import Pixels
from training.recipe import Augmentation


def augment(
    image: Pixels, mask: Pixels, change: Augmentation, rng: np.random.Generator, others: Sequence[Pixels] = ()
) -> tuple[Pixels, Pixels, list[Pixels]]:
    """A changed copy of an image (S, S, 1 or 3), of its mask (S, S; 0 or 1) and of other maps (S, S) of its pixels."""
    matrix = placement(mask.shape[0], change, rng)
    moved, moved_mask = move(image, mask, matrix)
    moved_others = [_warped(other, matrix, cv2.INTER_NEAREST) for other in others]
    return relight(moved, change, rng), moved_mask, moved_others


def move(image: Pixels, mask: Pixels, matrix: np.ndarray) -> tuple[Pixels, Pixels]:
    """Turn, flip, zoom, stretch and shift in one resampling; a pixel is defect where half of it is covered."""
    return _warped(image, matrix), (_warped(mask * 255, matrix) >= 128).astype(np.uint8)


def _warped(pixels: Pixels, matrix: np.ndarray, interpolation: int = cv2.INTER_LINEAR) -> Pixels:
    """Moved by a 2 x 3 matrix; the surface is mirrored where it would end."""
    size = pixels.shape[0]
    moved = cv2.warpAffine(pixels, matrix, (size, size), flags=interpolation, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(moved, np.uint8).reshape(pixels.shape)


def relight(image: Pixels, change: Augmentation, rng: np.random.Generator) -> Pixels:
    """Change exposure, shading, contrast, sharpness, noise. Light is scaled, not shifted, so dark stays readable."""
    size = image.shape[0]
    light = image.astype(np.float32)
    mean = float(light.mean())
    light = (light - mean) * _factor(change.contrast, rng) + mean
    light *= _factor(change.exposure, rng) * _shading(size, change.shading * rng.uniform(0, 1), rng)[:, :, None]
    if (sigma_px := change.blur_px * rng.uniform(0, 1)) > 0.3:  # below, the kernel is a single pixel
        light = np.asarray(cv2.GaussianBlur(light, (0, 0), sigma_px), np.float32).reshape(image.shape)
    if sigma := 255 * change.noise * rng.uniform(0, 1):
        # One noise for all channels: a sensor's luminance noise, and a third of the time.
        light += sigma * rng.standard_normal((size, size, 1), np.float32)
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)


def placement(size: int, change: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """The 2 x 3 matrix from source to drawn position, about the image's centre."""
    linear = np.eye(2)
    if change.turns:
        quarter = int(rng.integers(4))
        cos, sin = (1, 0, -1, 0)[quarter], (0, 1, 0, -1)[quarter]
        linear = np.array([[cos, -sin], [sin, cos]]) @ linear
    if change.flips:
        linear = np.diag(rng.choice([-1, 1], 2)) @ linear
    zoom, stretch = _factor(change.scale, rng), _factor(change.aspect, rng) ** 0.5
    linear = np.diag([zoom * stretch, zoom / stretch]) @ linear
    centre = np.full(2, (size - 1) / 2)
    offset = centre - linear @ centre + size * change.shift * rng.uniform(-1, 1, 2)
    return np.column_stack([linear, offset])


def _shading(size: int, strength: float, rng: np.random.Generator) -> np.ndarray:
    """A plane of light that falls off in a random direction: 1-strength .. 1+strength, (size, size)."""
    angle = rng.uniform(0, 2 * np.pi)
    along = np.linspace(-1, 1, size, dtype=np.float32)
    plane = (np.cos(angle) * along[None, :] + np.sin(angle) * along[:, None]) / 2**0.5
    return np.asarray(1 + strength * plane, np.float32)


def _factor(largest: float, rng: np.random.Generator) -> float:
    """A factor between 1/(1+largest) and 1+largest, as likely to shrink as to grow."""
    return float((1 + largest) ** rng.uniform(-1, 1))

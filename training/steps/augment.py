"""Augmentation: what changes between shifts, drawn anew for every image a step sees."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from f2pnet.pictures.preprocess import FILL_RGB
from training.data.images import Pixels
from training.recipe import Augmentation


def augment(
    image: Pixels,
    mask: Pixels,
    change: Augmentation,
    rng: np.random.Generator,
    others: Sequence[Pixels] = (),
    filled: tuple[int, int] | None = None,
) -> tuple[Pixels, Pixels, list[Pixels]]:
    """A changed copy of an image (S, S, 1 or 3), of its mask (S, S; 0 or 1) and of other maps (S, S) of its pixels.

    `filled` (rows, columns) is the part of the square that holds the image, None: all. Its own surface is mirrored
    where it would end; beside a letterbox's image the filling stays what it is.
    """
    size = mask.shape[0]
    rows, columns = filled or (size, size)
    matrix = placement(size, change, rng, filled)
    moved, moved_mask = move(image[:rows, :columns], mask[:rows, :columns], matrix, size)
    moved_others = [_warped(other[:rows, :columns], matrix, size, cv2.INTER_NEAREST) for other in others]
    lit = relight(moved, change, rng)
    if (rows, columns) != (size, size):
        outside = beyond((rows, columns), matrix, size)
        lit = np.broadcast_to(lit, (size, size, 3)).copy()
        lit[outside] = FILL_RGB
        for pixels in (moved_mask, *moved_others):
            pixels[outside] = 0
    return lit, moved_mask, moved_others


def move(image: Pixels, mask: Pixels, matrix: np.ndarray, size: int) -> tuple[Pixels, Pixels]:
    """Turn, flip, zoom, stretch and shift into a square of `size` in one resampling; a pixel is defect where half of
    it is covered."""
    return _warped(image, matrix, size), (_warped(mask * 255, matrix, size) >= 128).astype(np.uint8)


def beyond(filled: tuple[int, int], matrix: np.ndarray, size: int) -> np.ndarray:
    """(size, size) bool: where a moved letterbox shows no pixel of its image."""
    inside = cv2.warpAffine(np.full(filled, 255, np.uint8), matrix, (size, size), borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(inside < 128)


def _warped(pixels: Pixels, matrix: np.ndarray, size: int, interpolation: int = cv2.INTER_LINEAR) -> Pixels:
    """Moved by a 2 x 3 matrix; the surface is mirrored where it would end."""
    moved = cv2.warpAffine(pixels, matrix, (size, size), flags=interpolation, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(moved, np.uint8).reshape(size, size, *pixels.shape[2:])


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


def placement(
    size: int, change: Augmentation, rng: np.random.Generator, filled: tuple[int, int] | None = None
) -> np.ndarray:
    """The 2 x 3 matrix from source to drawn position, about the image's centre; a letterbox's image comes to the
    middle."""
    linear = np.eye(2)
    if change.turns:
        quarter = int(rng.integers(4))
        cos, sin = (1, 0, -1, 0)[quarter], (0, 1, 0, -1)[quarter]
        linear = np.array([[cos, -sin], [sin, cos]]) @ linear
    if change.flips:
        linear = np.diag(rng.choice([-1, 1], 2)) @ linear
    if change.rotation_deg:
        angle = np.deg2rad(change.rotation_deg * rng.uniform(-1, 1))
        linear = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ linear
    zoom, stretch = _factor(change.scale, rng), _factor(change.aspect, rng) ** 0.5
    linear = np.diag([zoom * stretch, zoom / stretch]) @ linear
    rows, columns = filled or (size, size)
    centre, own = np.full(2, (size - 1) / 2), np.array([(columns - 1) / 2, (rows - 1) / 2])
    offset = centre - linear @ own + size * change.shift * rng.uniform(-1, 1, 2)
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

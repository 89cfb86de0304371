"""Pictures of one thing: the same image mirrored or turned, or another exposure of the same part.

Each image becomes its fine structure: a 64 x 64 picture without its low frequencies, evened out in strength, so that
light and contrast do not count. Two images show one thing where these correlate above `SAME`: in any of the eight ways
to mirror and turn one of them, or upright and shifted by up to an eighth of the side, as another shot of a part is.

`SAME` was set on the two public sets whose leaks are known (docs/data.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from training.data.examples import UnusableImage, read_frame
from training.data.images import Pixels
from training.data.records import ImageFile

SIDE = 64
SAME = 0.6
LOW_PX = 2.0
"""Standard deviation of the blur that is taken away: what is coarser is light, not structure."""
SHIFT = 1 / 8
EVEN_LIGHT = 2.0  # grey levels; keeps flat areas from being blown up to noise
BLOCK = 1024
"""Images compared at once: their spectra take 17 MB."""


@dataclass(frozen=True)
class Match:
    """Two images of one thing, by their places in the two lists; `correlation` SAME..1."""

    first: int
    second: int
    correlation: float


def structure(image: Pixels) -> Tensor:
    """(SIDE, SIDE) float32 of length 1 and mean 0, of an image (H, W) or (H, W, 3)."""
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    fine = small - cv2.GaussianBlur(small, (0, 0), LOW_PX)
    strength = np.sqrt(cv2.GaussianBlur(fine * fine, (0, 0), 2 * LOW_PX))
    even = fine / (strength + EVEN_LIGHT)
    even -= even.mean()
    return torch.from_numpy(even / max(float(np.linalg.norm(even)), 1e-6))


def structures(images: Sequence[ImageFile]) -> tuple[Tensor, list[int]]:
    """(N, SIDE, SIDE) of the readable images, and the places of these in `images`."""
    found: list[Tensor] = []
    places: list[int] = []
    for place, image in enumerate(images):
        try:
            found.append(structure(read_frame(image)))
        except UnusableImage:
            continue  # the check of the records names it
        places.append(place)
    return (torch.stack(found) if found else torch.zeros(0, SIDE, SIDE)), places


def matches(first: Tensor, second: Tensor) -> Iterator[Match]:
    """For each of `second` (M, SIDE, SIDE) the image of `first` (N, SIDE, SIDE) that shows the same, if any does."""
    for place, correlations in _correlations(first, second):
        correlation, partner = correlations.max(0)
        if correlation >= SAME:
            yield Match(int(partner), place, round(float(correlation), 3))


def pairs(images: Tensor) -> Iterator[tuple[int, int]]:
    """Every two of `images` (N, SIDE, SIDE) that show the same thing, by their places, the lower one first."""
    for place, correlations in _correlations(images, images):
        for partner in (correlations[:place] >= SAME).nonzero().flatten().tolist():
            yield partner, place


@torch.inference_mode()
def _correlations(first: Tensor, second: Tensor) -> Iterator[tuple[int, Tensor]]:
    """The place of each of `second`, and (N,) its correlation with each of `first`, in the best pose."""
    if not len(first):
        return
    spectra = [torch.fft.rfft2(first[start : start + BLOCK]) for start in range(0, len(first), BLOCK)]
    for place, image in enumerate(second):
        yield place, torch.maximum(_aligned(first, image), _shifted(spectra, image))


def _aligned(first: Tensor, image: Tensor) -> Tensor:
    """(N,) the best correlation over the eight ways to mirror and turn."""
    ways = [torch.rot90(way, quarters) for way in (image, image.flip(1)) for quarters in range(4)]
    return (first.flatten(1) @ torch.stack(ways).flatten(1).T).amax(1)


def _shifted(spectra: Sequence[Tensor], image: Tensor) -> Tensor:
    """(N,) the best correlation over small shifts of the upright image."""
    most = int(SHIFT * SIDE)
    conjugate = torch.fft.rfft2(image).conj()
    found = []
    for block in spectra:
        surface = torch.fft.irfft2(block * conjugate, s=(SIDE, SIDE)).roll((most, most), (1, 2))
        found.append(surface[:, : 2 * most + 1, : 2 * most + 1].amax((1, 2)))
    return torch.cat(found)

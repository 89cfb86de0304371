"""High-pass of an image by constant matrices: no FFT, so it exports, and exactly what the reference's FFT gives.

The reference zeroes the centred spectrum where row and column frequency both lie in [-L, L-1] and takes the
absolute value of what is left. Keeping only that box is, for each axis, the projector
    P[n, m] = 1/N sum_{k=-L}^{L-1} exp(2 pi i k (n - m) / N) = A + iB,
so for a real image X the high-pass is | X - (A X A' - B X B') |, rows on the left, columns on the right.
A is symmetric of rank 2L + 1: A = Q Q' with scaled cosines and sines as columns of Q. B stems from the one
frequency without a partner, -L, and has rank 2. Both products are therefore thin.
When L = N/4, A is half-band (A[0] = 1/2, other even diagonals 0), and two half-size products replace each one.
"""

import math

import torch
from torch import Tensor, nn


def cut_frequency(height: int, width: int, rate: float) -> int:
    """L: the box is 2L wide and covers `rate` of the spectrum of a `height` x `width` image."""
    return int(math.sqrt(height * width * rate) / 2)


class HighPass(nn.Module):
    """(B, C, N, N) image -> (B, C, N, N) absolute high-pass, without parameters."""

    low_pass: Tensor
    unpaired: Tensor
    turned: Tensor

    def __init__(self, side: int, cut: int) -> None:
        super().__init__()
        if not 0 < 2 * cut <= side:
            raise ValueError(f"high-pass cut is {cut}; it must lie between 1 and half the side, {side // 2}")
        angle = 2 * math.pi / side * torch.arange(side, dtype=torch.float64)
        self.half_band = 4 * cut == side
        if self.half_band:
            odd_to_even = _low_pass_entries(torch.arange(0, side, 2)[:, None] - torch.arange(1, side, 2), side, cut)
            self._constant("low_pass", odd_to_even)
        else:
            self._constant("low_pass", _low_pass_basis(angle, side, cut))
        unpaired = torch.stack([torch.sin(angle * cut), torch.cos(angle * cut)], dim=1)
        self._constant("unpaired", unpaired)
        self._constant("turned", torch.stack([-unpaired[:, 1], unpaired[:, 0]], dim=1) / side)

    def forward(self, images: Tensor) -> Tensor:
        if self.half_band:
            rows_done = _half_band_rows(images, self.low_pass)
            low = _half_band_rows(rows_done.mT, self.low_pass).mT
        else:
            low = self.low_pass @ (self.low_pass.mT @ images @ self.low_pass) @ self.low_pass.mT
        return (images - low + self._unpaired_part(images)).abs()

    def _unpaired_part(self, images: Tensor) -> Tensor:
        """B X B': four numbers per channel, times a pattern of the cut frequency."""
        four_numbers = self.unpaired.mT @ images @ self.unpaired
        return self.turned @ four_numbers @ self.turned.mT

    def _constant(self, name: str, values: Tensor) -> None:
        self.register_buffer(name, values.to(torch.float32), persistent=False)


def _low_pass_basis(angle: Tensor, side: int, cut: int) -> Tensor:
    """Q (N, 2L + 1) with Q Q' = A. The unpaired frequency counts half as much as a pair."""
    frequencies = torch.arange(1, cut + 1, dtype=torch.float64)
    weights = torch.full((cut,), 2 / side, dtype=torch.float64)
    weights[-1] = 1 / side
    waves = angle[:, None] * frequencies
    constant = torch.full((side, 1), side**-0.5, dtype=torch.float64)
    return torch.cat([constant, waves.cos() * weights.sqrt(), waves.sin() * weights.sqrt()], dim=1)


def _low_pass_entries(distance: Tensor, side: int, cut: int) -> Tensor:
    """A at odd distances d: sin(2 pi L d / N) cot(pi d / N) / N."""
    d = distance.to(torch.float64)
    return torch.sin(2 * math.pi * cut * d / side) / torch.tan(math.pi * d / side) / side


def _half_band_rows(x: Tensor, odd_to_even: Tensor) -> Tensor:
    """A x for half-band A, along the rows: even rows need odd rows only, and the other way round."""
    even, odd = x[..., 0::2, :], x[..., 1::2, :]
    low_even = 0.5 * even + odd_to_even @ odd
    low_odd = 0.5 * odd + odd_to_even.mT @ even
    return torch.stack([low_even, low_odd], dim=-2).flatten(-3, -2)

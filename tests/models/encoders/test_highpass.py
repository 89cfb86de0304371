import pytest
import torch
from torch import Tensor

from models.encoders.highpass import HighPass, cut_frequency


def by_fft(images: Tensor, cut: int) -> Tensor:
    """The published formula: zero the centre box of the shifted spectrum, transform back, real part, absolute."""
    side = images.shape[-1]
    spectrum = torch.fft.fftshift(torch.fft.fft2(images), dim=(-2, -1))
    box = slice(side // 2 - cut, side // 2 + cut)
    spectrum[..., box, box] = 0
    return torch.fft.ifft2(torch.fft.ifftshift(spectrum, dim=(-2, -1))).real.abs()


@pytest.mark.parametrize(("side", "cut"), [(64, 16), (64, 4), (64, 31), (96, 24), (50, 7), (33, 8)])
def test_the_matrices_give_what_the_fourier_transform_gives(side: int, cut: int) -> None:
    images = torch.randn(2, 3, side, side)

    highpass = HighPass(side, cut)(images)

    torch.testing.assert_close(highpass, by_fft(images.double(), cut).float(), atol=1e-5, rtol=1e-5)


def test_the_frequency_without_a_partner_is_handled() -> None:
    """A checkerboard of the cut frequency is where a symmetric box would show."""
    wave = torch.cos(torch.arange(64) * torch.pi / 2)
    images = (wave[:, None] * wave)[None, None]

    highpass = HighPass(64, 16)(images)

    torch.testing.assert_close(highpass, by_fft(images.double(), 16).float(), atol=1e-6, rtol=0)
    assert highpass.max() > 0.2


def test_a_flat_image_has_no_high_frequencies() -> None:
    assert HighPass(64, 4)(torch.full((1, 3, 64, 64), 7.0)).max() < 1e-5


def test_the_cut_of_the_published_code_is_a_quarter_of_the_side() -> None:
    assert cut_frequency(1024, 1024, 0.25) == 256


def test_a_cut_beyond_the_spectrum_is_refused() -> None:
    with pytest.raises(ValueError, match=r"cut is 40.*half the side, 32"):
        HighPass(64, 40)

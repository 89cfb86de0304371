"""From the bytes of an image file to pixels."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from f2pnet.pictures.decode import decode_picture
from f2pnet.pictures.header import UnreadablePicture

PATTERN = np.arange(60 * 80, dtype=np.uint16).reshape(60, 80) % 251


def _encoded(suffix: str, pixels: npt.NDArray[np.integer | np.floating]) -> bytes:
    return cv2.imencode(suffix, pixels)[1].tobytes()


def test_grey_picture_stays_grey() -> None:
    grey = PATTERN.astype(np.uint8)

    assert np.array_equal(decode_picture(_encoded(".png", grey)), grey)


def test_colour_picture_is_bgr() -> None:
    colour = np.zeros((60, 80, 3), np.uint8)
    colour[..., 0] = 200

    pixels = decode_picture(_encoded(".bmp", colour))

    assert pixels.shape == (60, 80, 3)
    assert pixels[0, 0].tolist() == [200, 0, 0]
    assert pixels.flags.c_contiguous


def test_sixteen_bits_become_their_upper_half_where_they_are_said_to_be_full() -> None:
    deep = (PATTERN * 257).astype(np.uint16)

    assert np.array_equal(decode_picture(_encoded(".png", deep), bit_depth=16), PATTERN.astype(np.uint8))


def test_transparency_is_left_out() -> None:
    pixels = np.full((60, 80, 4), (10, 20, 30, 0), np.uint8)

    decoded = decode_picture(_encoded(".png", pixels))

    assert decoded.shape == (60, 80, 3)
    assert decoded[5, 5].tolist() == [10, 20, 30]
    assert decoded.flags.c_contiguous


def test_floating_point_picture_is_refused_with_its_type() -> None:
    with pytest.raises(UnreadablePicture, match="float32"):
        decode_picture(_encoded(".tiff", PATTERN.astype(np.float32)))


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_cut_off_picture_is_refused(suffix: str, share: float) -> None:
    whole = _encoded(suffix, np.random.default_rng(3).integers(0, 255, (120, 160), dtype=np.uint8))

    with pytest.raises(UnreadablePicture):
        decode_picture(whole[: int(len(whole) * share)])


@pytest.mark.parametrize("data", [b"", b"hello, this is no picture", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\nIEND"])
def test_bytes_that_are_no_picture_are_refused(data: bytes) -> None:
    with pytest.raises(UnreadablePicture):
        decode_picture(data)


def test_bytes_after_the_end_of_a_jpeg_do_no_harm() -> None:
    picture = _encoded(".jpg", PATTERN.astype(np.uint8))

    assert decode_picture(picture + bytes(100)).shape == (60, 80)

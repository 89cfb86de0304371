"""From the bytes of an image file to pixels: what is read, and what is refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from f2pnet.pictures.decode import check_whole, decode_picture, read_picture
from f2pnet.pictures.header import PictureTooLarge, UnreadablePicture
from tests.f2pnet.pictures.files import (
    COLOUR,
    GREY,
    bomb,
    damaged_files,
    encoded,
    files_of_several_pictures,
    shown,
    whole_files,
    with_hole,
)

PATTERN = np.arange(60 * 80, dtype=np.uint16).reshape(60, 80) % 251
WHOLE, SEVERAL, DAMAGED = whole_files(), files_of_several_pictures(), damaged_files()


def _encoded(suffix: str, pixels: npt.NDArray[np.integer | np.floating]) -> bytes:
    return cv2.imencode(suffix, pixels)[1].tobytes()


@pytest.mark.parametrize("name", WHOLE)
def test_whole_files_give_what_a_viewer_shows(name: str) -> None:
    pixels = decode_picture(WHOLE[name])

    wanted = shown(WHOLE[name])
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    rgb = np.repeat(pixels[:, :, None], 3, 2) if pixels.ndim == 2 else pixels[:, :, ::-1]
    assert np.array_equal(rgb, wanted)


def test_orientation_of_every_format_is_the_same_picture() -> None:
    """A picture that says 'turn me' is the picture that was turned before it was saved."""
    upright = {
        6: COLOUR.swapaxes(0, 1)[:, ::-1],
        3: COLOUR[::-1, ::-1],
        8: COLOUR.swapaxes(0, 1)[::-1],
    }
    for orientation, wanted in upright.items():
        for suffix in (".png", ".webp", ".tif"):
            pixels = decode_picture(WHOLE[f"turned-{orientation}{suffix}"])
            assert np.array_equal(pixels[:, :, ::-1], wanted), (orientation, suffix)


@pytest.mark.parametrize("name", SEVERAL)
def test_files_of_several_pictures_are_refused(name: str) -> None:
    with pytest.raises(UnreadablePicture, match=r"(holds 2 pages or frames|another picture follows).* split it"):
        decode_picture(SEVERAL[name])


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_are_refused(name: str) -> None:
    with pytest.raises(UnreadablePicture):
        decode_picture(DAMAGED[name])


def test_decoder_warnings_of_a_jpeg_are_its_reason() -> None:
    data = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200), dtype=np.uint8)), "JPEG")

    with pytest.raises(UnreadablePicture, match="Corrupt JPEG data"):
        decode_picture(with_hole(data))


def test_thumbnail_pages_of_a_tiff_are_no_pictures_of_their_own() -> None:
    small = Image.fromarray(np.ascontiguousarray(COLOUR[::4, ::4]))
    small.encoderinfo = {"tiffinfo": {254: 1}}
    data = encoded(Image.fromarray(COLOUR), "TIFF", save_all=True, append_images=[small])

    assert np.array_equal(decode_picture(data)[:, :, ::-1], COLOUR)


def test_grey_picture_stays_grey() -> None:
    assert np.array_equal(decode_picture(_encoded(".png", GREY)), GREY)


def test_transparency_is_left_out() -> None:
    pixels = np.full((60, 80, 4), (10, 20, 30, 0), np.uint8)

    decoded = decode_picture(_encoded(".png", pixels))

    assert decoded.shape == (60, 80, 3)
    assert decoded[5, 5].tolist() == [10, 20, 30]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_are_refused_where_nothing_says_their_range(suffix: str, channels: int) -> None:
    deep = np.repeat((PATTERN * 16)[:, :, None], channels, 2).squeeze()

    with pytest.raises(UnreadablePicture, match="bit_depth"):
        decode_picture(_encoded(suffix, deep))


@pytest.mark.parametrize(("bit_depth", "factor"), [(16, 256), (14, 64), (12, 16), (10, 4)])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_lose_their_lower_bits(suffix: str, bit_depth: int, factor: int) -> None:
    deep = (PATTERN * factor + factor - 1).astype(np.uint16)

    assert np.array_equal(decode_picture(_encoded(suffix, deep), bit_depth=bit_depth), PATTERN)


def test_range_that_is_too_small_is_refused_and_not_clipped() -> None:
    with pytest.raises(UnreadablePicture, match="a pixel of 4000, and the largest value is said to be 1023"):
        decode_picture(_encoded(".png", np.full((5, 5), 4000, np.uint16)), bit_depth=10)


def test_range_that_the_file_states_is_taken() -> None:
    """PNM's largest value, TIFF's MaxSampleValue, PNG's sBIT (which means the full depth)."""
    values = (PATTERN * 16).astype(np.uint16)
    pgm = b"P5\n# a comment\n80 60\n4095\n" + values.astype(">u2").tobytes()
    tiff = encoded(Image.fromarray(values), "TIFF", tiffinfo={281: 4095})
    full = _encoded(".png", (PATTERN * 256).astype(np.uint16))
    png = full[:33] + bytes.fromhex("00000001") + b"sBIT" + b"\x0c" + bytes.fromhex("2da93fba") + full[33:]

    assert np.array_equal(decode_picture(pgm), PATTERN)
    assert np.array_equal(decode_picture(tiff), PATTERN)
    with pytest.raises(UnreadablePicture, match="checksum"):
        decode_picture(png)  # the checksum of the chunk was made up


def test_pnm_of_few_grey_levels_is_stretched() -> None:
    values = np.arange(101, dtype=np.uint8).reshape(1, 101)

    pixels = decode_picture(b"P5 101 1 100\n" + values.tobytes())

    assert (pixels[0, 0], pixels[0, 50], pixels[0, 100]) == (0, 127, 255)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_pixels_that_are_no_unsigned_numbers_are_refused_with_their_type(dtype: type) -> None:
    with pytest.raises(UnreadablePicture, match=np.dtype(dtype).name):
        decode_picture(encoded(Image.fromarray(PATTERN.astype(dtype)), "TIFF"))


def test_picture_that_would_take_too_much_memory_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(PictureTooLarge, match=r"30000x30000 takes 858 MB; allowed are 64 MB: .*max_frame_mb"):
        decode_picture(bomb(), max_bytes=64 * 2**20)


def test_file_that_is_far_larger_than_its_picture_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(200 * 2**20)

    with pytest.raises(PictureTooLarge, match="the file has 200 MB"):
        read_picture(tmp_path / "a.png", max_bytes=2**20)


def test_file_that_can_not_be_opened_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(UnreadablePicture, match="No such file"):
        read_picture(tmp_path / "nowhere.png")


@pytest.mark.parametrize("data", [b"", b"hello, this is no picture", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\nIEND", b"P5"])
def test_bytes_that_are_no_picture_are_refused(data: bytes) -> None:
    with pytest.raises(UnreadablePicture):
        decode_picture(data)


def test_bytes_after_the_end_of_a_jpeg_do_no_harm() -> None:
    assert decode_picture(WHOLE["grey.jpeg"] + bytes(100)).shape == GREY.shape


def test_colours_that_are_not_red_green_and_blue_are_converted() -> None:
    data = encoded(Image.fromarray(COLOUR).convert("CMYK"), "JPEG", quality=95)

    assert np.abs(decode_picture(data)[:, :, ::-1].astype(int) - COLOUR).mean() < 8


def test_profile_in_the_file_changes_nothing() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encoded(Image.fromarray(COLOUR), "PNG", icc_profile=profile)

    assert np.array_equal(decode_picture(data)[:, :, ::-1], COLOUR)


def test_masks_are_checked_as_pictures_are(tmp_path: Path) -> None:
    for name, data in (DAMAGED | SEVERAL).items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UnreadablePicture):
            check_whole(tmp_path / name)
    (tmp_path / "deep.png").write_bytes(_encoded(".png", PATTERN * 100))
    check_whole(tmp_path / "deep.png")  # the values of a mask have their own rule

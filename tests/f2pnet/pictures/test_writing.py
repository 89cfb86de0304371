"""Pictures are written whole, in a format that can hold them, or it is an error."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from f2pnet.pictures.writing import PictureNotWritten, encode_picture, write_picture

BEGINNINGS = {".jpg": b"\xff\xd8\xff", ".png": b"\x89PNG", ".webp": b"RIFF"}


@pytest.mark.parametrize(
    ("shape", "asked", "given"),
    [
        ((8, 9), ".jpg", ".jpg"),
        ((8, 9, 3), ".webp", ".webp"),
        ((2, 65_500), ".jpg", ".jpg"),
        ((2, 65_501), ".jpg", ".png"),  # JPEG itself ends at 65,535, its library libjpeg at 65,500
        ((65_536, 2), ".jpg", ".png"),
        ((2, 70_000, 3), ".jpeg", ".png"),
        ((2, 16_383), ".webp", ".webp"),
        ((2, 16_384, 3), ".webp", ".png"),
        ((2, 70_000), ".png", ".png"),
    ],
)
def test_a_picture_beyond_a_format_s_limit_is_written_as_png(shape: tuple[int, ...], asked: str, given: str) -> None:
    image = np.arange(np.prod(shape), dtype=np.uint32).reshape(shape).astype(np.uint8)

    data, suffix = encode_picture(image, asked, quality=90)

    assert suffix == given
    assert data.startswith(BEGINNINGS[given])
    read = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert read.shape[:2] == shape[:2]
    if given == ".png":
        np.testing.assert_array_equal(read, image)


def test_the_path_written_is_told(tmp_path: Path) -> None:
    small, wide = np.zeros((4, 4), np.uint8), np.zeros((2, 70_000), np.uint8)

    assert write_picture(tmp_path / "new" / "a.jpg", small) == tmp_path / "new" / "a.jpg"
    assert write_picture(tmp_path / "wide.jpg", wide) == tmp_path / "wide.png"
    assert not (tmp_path / "wide.jpg").exists()


def test_a_picture_that_is_not_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PictureNotWritten, match=r"a\.png can't be written"):
        write_picture(tmp_path / "file" / "a.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(PictureNotWritten, match=r"shape \(0, 4\)"):
        encode_picture(np.zeros((0, 4), np.uint8), ".jpg")

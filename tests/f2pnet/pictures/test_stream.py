"""Pictures from disk: read as they are stored, or given a reason."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from f2pnet.pictures.stream import Picture, PictureFile, find_inputs, pictures


def _only_picture(path: Path) -> Picture:
    (picture,) = pictures([PictureFile(path, Path(path.name))])
    return picture


@pytest.mark.parametrize(("shape", "read"), [((5, 7), (5, 7)), ((5, 7, 3), (5, 7, 3)), ((5, 7, 4), (5, 7, 3))])
def test_grey_color_and_transparent_images_are_read(
    tmp_path: Path, shape: tuple[int, ...], read: tuple[int, ...]
) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), image)

    picture = _only_picture(tmp_path / "a.png")

    assert picture.image is not None
    assert (picture.image.shape, picture.reason) == (read, None)
    np.testing.assert_array_equal(picture.image, image[..., :3] if image.ndim == 3 else image)


def test_deep_images_are_not_guessed_at(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((5, 7), 900, np.uint16))

    picture = _only_picture(tmp_path / "a.png")

    assert (picture.image, picture.reason) == (None, "unreadable")
    assert "bit_depth" in str(picture.detail)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n"])
def test_files_that_are_no_images_are_unreadable(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)

    picture = _only_picture(tmp_path / "a.png")

    assert (picture.image, picture.reason) == (None, "unreadable")
    assert picture.detail


def test_folders_are_searched_with_their_subfolders_for_known_suffixes(tmp_path: Path) -> None:
    for name in ("b/10.JPG", "b/9.jpg", "a.png", "notes.txt", "belt.mp4", "out/old.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    found = find_inputs([tmp_path], ignore=tmp_path / "out")

    assert [str(file.name) for file in found.files] == ["a.png", "b/9.jpg", "b/10.JPG", "belt.mp4"]
    assert [file.is_video for file in found.files] == [False, False, False, True]
    assert [str(each) for each in found.passed_over] == [f"{tmp_path}/notes.txt (file ending in .txt)"]
    assert not found.may_miss_pictures


def test_one_file_twice_gets_two_names(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()

    assert find_inputs([tmp_path / "a.png"] * 2, ignore=tmp_path / "out").files == [
        PictureFile(tmp_path / "a.png", Path("a.png")),
        PictureFile(tmp_path / "a.png", Path("a-2.png")),
    ]

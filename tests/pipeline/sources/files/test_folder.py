"""A folder of images as a camera."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from f2pnet.config.sources import FolderSource
from f2pnet.errors import MissingResource
from pipeline.frames.file_ref import FileRef
from pipeline.sources import BadFrame, Frame, SourceEnded, open_source
from tests.servers.reading import read_frames, read_until


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """part1.png ... part12.png, grey value = number."""
    for number in range(1, 13):
        cv2.imwrite(str(tmp_path / f"part{number}.png"), np.full((20, 30), number, np.uint8))
    return tmp_path


def _shown(items: list[Frame | BadFrame]) -> list[int]:
    return [int(item.image[0, 0]) for item in items if isinstance(item, Frame)]


def test_images_come_in_natural_order_then_the_source_ends(folder: Path) -> None:
    with open_source(FolderSource(path=folder)) as source:
        items, _ = read_until(source, SourceEnded)

    assert _shown(items) == list(range(1, 13))
    assert [item.index for item in items] == list(range(12))
    assert items[9].file == FileRef("part10.png")
    assert abs(items[0].captured_at_ns - time.time_ns()) < 60e9


def test_reading_goes_on_where_it_stopped(folder: Path) -> None:
    with open_source(FolderSource(path=folder), start_index=10) as source:
        items, _ = read_until(source, SourceEnded)

    assert [(item.index, item.file.name if item.file else "") for item in items] == [
        (10, "part11.png"),
        (11, "part12.png"),
    ]


def test_looped_folder_begins_again(folder: Path) -> None:
    with open_source(FolderSource(path=folder, loop=True), start_index=23) as source:
        frames = read_frames(source, 3)

    assert [frame.index for frame in frames] == [23, 24, 25]
    assert [int(frame.image[0, 0]) for frame in frames] == [12, 1, 2]


def test_broken_image_is_told_and_the_rest_goes_on(folder: Path) -> None:
    (folder / "part3.png").write_bytes((folder / "part3.png").read_bytes()[:40])
    (folder / "part5.png").write_bytes(b"")
    (folder / "part7.png").unlink()
    (folder / "part7.png").symlink_to(folder / "gone.png")

    with open_source(FolderSource(path=folder)) as source:
        items, _ = read_until(source, SourceEnded)

    bad = [item for item in items if isinstance(item, BadFrame)]
    assert [(item.index, item.file.name if item.file else "", item.reason) for item in bad] == [
        (2, "part3.png", "unreadable"),
        (4, "part5.png", "unreadable"),
        (6, "part7.png", "unreadable"),
    ]
    assert "empty" in bad[1].detail
    assert "No such file" in bad[2].detail
    assert _shown(items) == [1, 2, 4, 6, 8, 9, 10, 11, 12]


def test_hidden_files_are_left_out(folder: Path) -> None:
    (folder / "._part1.png").write_bytes(b"what some systems leave beside a file")

    with open_source(FolderSource(path=folder)) as source:
        assert len(read_until(source, SourceEnded)[0]) == 12


def test_links_are_followed(folder: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "a.png").symlink_to(folder / "part4.png")

    with open_source(FolderSource(path=linked)) as source:
        assert _shown(read_until(source, SourceEnded)[0]) == [4]


def test_rate_is_kept(folder: Path) -> None:
    started_s = time.monotonic()
    with open_source(FolderSource(path=folder, fps=50)) as source:
        read_until(source, SourceEnded)

    assert 11 / 50 <= time.monotonic() - started_s < 2


def test_frame_that_is_not_due_yet_is_not_waited_for(folder: Path) -> None:
    with open_source(FolderSource(path=folder, fps=0.5)) as source:
        read_frames(source, 1)
        started_s = time.monotonic()
        assert source.read(0.05) is None
    assert time.monotonic() - started_s < 1


def test_missing_and_empty_folders_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not an image")

    with pytest.raises(MissingResource, match="no folder"):
        open_source(FolderSource(path=tmp_path / "nowhere"))
    with pytest.raises(MissingResource, match=r"no images in .*\.png"):
        open_source(FolderSource(path=tmp_path))
